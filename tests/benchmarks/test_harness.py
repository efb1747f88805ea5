"""Turns, paired ratios, peaks, and where results go."""

import time

import pytest
import torch

from benchmarks.harness import Turns, compare, publish, table, take_steps

CPU = torch.device("cpu")


def loop(name, journal, seconds=0.0, steps=1000):
    def run(step_done):
        for _ in range(steps):
            journal.append(name)
            time.sleep(seconds)
            step_done()

    return run


def test_contestants_take_their_steps_in_turn():
    journal = []
    laps = Turns({name: loop(name, journal) for name in "abc"}, 4, CPU).run()
    assert "".join(journal) == "abc" * 4
    assert {name: len(taken) for name, taken in laps.items()} == {"a": 4, "b": 4, "c": 4}


def test_a_lap_is_the_time_of_its_contestant_alone():
    laps = Turns({"slow": loop("slow", [], 0.05), "fast": loop("fast", [])}, 4, CPU).run()
    assert all(0.05 <= wall < 0.5 for wall, _ in laps["slow"])
    assert all(processor < 0.04 for _, processor in laps["slow"])  # it slept
    found = compare(laps["slow"][1:], laps["fast"][1:])
    assert found.ratio > 5
    assert found.seconds >= 0.05 > found.peer_seconds


@pytest.mark.parametrize("steps", [2, 1000])
def test_what_goes_wrong_in_a_contestant_is_raised(steps):
    def broken(step_done):
        step_done()
        if steps == 1000:
            raise ZeroDivisionError

    with pytest.raises(RuntimeError, match="a contestant failed") as raised:
        Turns({"good": loop("good", []), "broken": broken}, 5, CPU).run()
    expected = ZeroDivisionError if steps == 1000 else RuntimeError
    assert type(raised.value.__cause__) is expected


def test_a_comparison_pairs_the_rounds():
    own, peer = [(2.0, 1.0), (30.0, 1.0), (2.0, 1.0)], [(1.0, 2.0), (10.0, 2.0), (4.0, 2.0)]
    found = compare(own, peer)
    assert (found.ratio, found.low, found.high) == (2.0, 0.5, 3.0)
    assert (found.seconds, found.peer_seconds, found.processor) == (2.0, 4.0, 0.5)


def test_a_loop_by_itself_takes_as_many_steps_as_asked():
    journal = []
    take_steps(loop("a", journal), 3)
    assert journal == ["a"] * 3
    with pytest.raises(RuntimeError, match="after 2 of 3 steps"):
        take_steps(loop("a", [], steps=2), 3)


def test_results_replace_those_of_their_section_only(tmp_path):
    path = tmp_path / "RESULTS.md"
    path.write_text("# R\n<!-- begin: a -->\nold\n<!-- end: a -->\nby hand\n<!-- begin: b -->\nB\n<!-- end: b -->\n")
    publish("a", "new\n", path)
    assert path.read_text() == (
        "# R\n<!-- begin: a -->\nnew\n<!-- end: a -->\nby hand\n<!-- begin: b -->\nB\n<!-- end: b -->\n"
    )
    with pytest.raises(ValueError, match="has no <!-- begin: c -->"):
        publish("c", "new", path)


def test_a_table_in_markdown():
    assert table(["a", "b"], [[1, "x"]]) == "| a | b |\n| --- | --- |\n| 1 | x |"
