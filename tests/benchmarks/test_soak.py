"""The soak in small; and what it would notice."""

import json

import pytest

from benchmarks import soak
from benchmarks.soak_memory import fitted_growth, resident_mib, slope
from benchmarks.soak_requests import long_trail, many_rows

pytestmark = pytest.mark.filterwarnings("ignore")  # as on the command line


def test_memory_that_grows_is_told_from_memory_that_is_flat_after_a_while():
    warm = [(step, 100.0 + min(step, 20)) for step in range(0, 100, 5)]
    assert fitted_growth(warm) == pytest.approx(0, abs=1e-9)
    assert fitted_growth([(step, 100 + 0.5 * step) for step in range(0, 100, 5)]) == pytest.approx(0.5 * 45)
    assert slope([(0, 1), (2, 5)]) == pytest.approx(2)
    with pytest.raises(ValueError, match="3 samples show no growth"):
        fitted_growth(warm[:3])


def test_resident_memory_has_what_was_just_allocated():
    before = resident_mib()
    held = bytearray(b"x" * 64 * 2**20)
    assert resident_mib() - before > 50
    del held


def found(**changes):
    requests = [{"request": i, "seconds": 0.2, "mib": 500.0} for i in range(8)]
    rows = [{"rows": 250, "seconds": 1.0, "mib": 1.0}, {"rows": 1000, "seconds": 4.0, "mib": 4.0}]
    trails = [{"lines": 250, "milliseconds": 1.0}, {"lines": 1000, "milliseconds": 4.0}]
    return {"rows": rows, "trails": trails, "requests": requests} | changes


@pytest.mark.parametrize(
    ("changes", "wrong"),
    [
        ({}, []),
        ({"trails": [{"lines": 250, "milliseconds": 1.0}, {"lines": 1000, "milliseconds": 16.0}]}, [2]),
        ({"rows": [{"rows": 5, "seconds": 1, "mib": 1}, {"rows": 20, "seconds": 16, "mib": 4}]}, [0, 1]),
        ({"requests": [{"request": i, "seconds": 0.2 + 0.035 * i, "mib": 500} for i in range(8)]}, [3]),
        ({"requests": [{"request": i, "seconds": 0.2, "mib": 500 + i} for i in range(8)]}, [4]),
    ],
)
def test_what_grows_faster_than_it_may_does_not_hold(changes, wrong):
    checks = soak.check_requests(found(**changes))
    assert [i for i, check in enumerate(checks) if not check.holds] == wrong
    assert all(len(check.cells()) == 4 for check in checks)


def test_growth_of_one_rank_does_not_hold(tmp_path):
    for rank, per_step in enumerate((0.0, 0.5)):
        samples = [json.dumps([step, 500 + per_step * step]) for step in range(0, 100, 5)]
        (tmp_path / f"memory-{rank}.jsonl").write_text("\n".join(samples))
    assert [check.holds for check in soak.memory_checks(tmp_path)] == [True, False]


def test_rows_and_lines_are_timed(tmp_path):
    loaded = many_rows(200)
    assert loaded["rows"] == 200
    assert loaded["seconds"] > 0 < loaded["milliseconds"]
    short, long = long_trail([5, 20], tmp_path)
    assert (short["lines"], long["lines"]) == (5, 20)
    assert long["bytes"] == pytest.approx(4 * short["bytes"], rel=0.1)


def test_the_command_ends_with_the_status_of_its_checks(monkeypatch, capsys):
    for holds in (True, False):
        checks = [soak.Check("memory", "1 MiB", "2 MiB", True), soak.Check("files", "3", "2", holds)]
        monkeypatch.setattr(soak, "soak", lambda options, checks=checks: checks)
        assert soak.main(["--print", "--steps", "40", "--every", "20"]) == int(not holds)
        assert f"| files | 3 | 2 | {'yes' if holds else '**no**'} |" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        soak.main(["--steps", "30", "--every", "20"])
    assert "no multiple of --every 20" in capsys.readouterr().err


@pytest.mark.slow
def test_a_small_soak_holds(capsys):
    status = soak.main(
        ["--print", "--steps", "60", "--every", "20", "--rows", "1000", "--requests", "8", "--trail", "400"]
    )
    assert status == 0, capsys.readouterr().out
