"""The study of selection: what is planted is found, levels are matched, and nothing is run twice."""

import pytest

from experiments.studies.selection import study as module
from experiments.studies.selection.planted import planted
from experiments.studies.selection.tables import at_level, interval, print_tables
from experiments.studies.selection.transfer import ARMS, random_classes
from unlearn_pl.data import Pool


@pytest.mark.parametrize("seed", range(3))
def test_what_is_planted_is_found(seed):
    assert planted(seed) == {"rows": 1.0, "votes": 1.0}


def test_arms_are_compared_where_forgetting_is_equal():
    points = [
        {"step": 0, "forget": 1.0},
        {"step": 16, "forget": 0.5, "retain": 0.9},
        {"step": 18, "forget": 0.1, "retain": 0.7},
    ]
    assert at_level(points, 0.2) == pytest.approx({"step": 17.5, "forget": 0.2, "retain": 0.75})
    assert at_level(points, 0.05) is None


def test_extremes_of_the_seeds():
    assert interval([1.0, 2.0, 4.5]) == "2.50 [1.00, 4.50]"
    assert interval([2.0], 1) == "2.0"
    assert interval([]) == "-"


def test_random_classes_are_whole():
    pool = Pool(60, labels=lambda _: [f"{i % 30:02d}" for i in range(60)])
    rows = random_classes(pool, 1 / 3, seed=0)
    assert len(rows) == 20
    assert len({int(row) % 30 for row in rows}) == 10
    assert len(ARMS["random rows"](pool, 1 / 3, 0)) == 20


def test_trials_are_kept_and_not_repeated(tmp_path, monkeypatch, capsys):
    runs = []
    monkeypatch.setattr(module, "planted", lambda seed: runs.append(seed) or {"rows": 1.0, "votes": 1.0})
    for _ in range(2):
        module.study(str(tmp_path), seeds=2, parts="planted")
    assert runs == [0, 1]
    assert "| 1 | 1.0 | 1.0 |" in capsys.readouterr().out


def test_tables_have_the_difference_to_random_rows_and_say_what_was_not_reached(capsys):
    trials = [
        {"part": "transfer", "arm": arm, "share": "1/2", "seed": seed, "accuracy": value + seed}
        for arm, value in (("LM", 80.0), ("random rows", 78.0))
        for seed in range(2)
    ]
    points = [{"step": 0, "forget": 1.0}, {"step": 2, "forget": 0.9, "retain": 0.9, "neighbors": 1.0, "facts": 0.5}]
    points[0] |= {"retain": 1.0, "neighbors": 1.0, "facts": 1.0}
    trials.append({"part": "retain", "arm": "nearest", "share": "", "seed": 0, "points": points, "reports": {}})
    print_tables(trials)
    out = capsys.readouterr().out
    assert "| LM | 80.5 [80.0, 81.0] (2.0 [2.0, 2.0]) |" in out
    assert "| nearest | 0/1 | - | - | - | - | - |" in out
