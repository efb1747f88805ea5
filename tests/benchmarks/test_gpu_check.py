"""The check for machines with a GPU works, up to the GPU; a section that fails or hangs leaves the others alone."""

import json
import sys
import time
import warnings
from functools import cache

import pytest
import torch

from benchmarks import gpu_check as check
from benchmarks.gpu_check_resume import Run, start_and_kill
from benchmarks.gpu_check_sections import SECTIONS, SIZES, SkippedError, WrongError, lines_of
from benchmarks.tiny_run import differing

TINY = check.replace(SIZES["tiny"], device="cpu", rounds=1)
IN_PROCESS = ["step-cost", "memory", "synchronizations", "offloaded-rows"]

pytestmark = pytest.mark.filterwarnings("ignore")  # as on the command line


@cache
def outcome_of(name: str) -> check.Outcome:
    return check.run_section(name, TINY)


@pytest.mark.parametrize("name", IN_PROCESS)
def test_every_section_gives_a_table(name):
    outcome = outcome_of(name)
    assert outcome.status == "done", outcome
    header, _, *rows = [line for line in outcome.text.splitlines() if line.startswith("|")]
    assert rows
    assert all(row.count("|") == header.count("|") for row in rows)
    assert any("MinNorm" in row for row in rows)


def test_the_profile_counts_what_waits():
    header, _, *rows = [
        [cell.strip() for cell in line.split("|")]
        for line in outcome_of("synchronizations").text.splitlines()
        if line.startswith("|")
    ]
    found = {row[1]: dict(zip(header, row, strict=True)) for row in rows}
    assert float(found["plain"]["nonzero"]) == 0 < float(found["MinNorm"]["item"])
    assert found["MinNorm"]["own"] == found["MinNorm"]["waits"] == ""  # PyTorch warns on a GPU only


def test_lines_that_wait_are_those_of_pytorchs_warnings():
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for _ in range(2):
            warnings.warn("called a synchronizing CUDA operation", stacklevel=1)
        warnings.warn("something else", stacklevel=1)
    ((line, count),) = lines_of(caught).items()
    assert line.startswith("tests/benchmarks/test_gpu_check.py:")
    assert count == 2


def test_a_killed_run_goes_on_to_the_same_weights():
    outcome = outcome_of("resume")
    assert outcome.status == "done", outcome
    cells = [cell.strip() for cell in outcome.text.splitlines()[-1].split("|")]
    assert cells[3] == "10"
    assert cells[4:6] == ["step=8.ckpt", "9"]
    assert cells[6].startswith("0 of ")


def test_a_run_that_ends_before_it_is_killed_is_an_error(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "executable", "true")  # the command of that name
    with pytest.raises(RuntimeError, match="ended before it was killed"):
        start_and_kill(Run("cpu", 16), tmp_path)


def test_weights_differ_by_a_bit_or_by_their_names():
    one = {"a": torch.ones(2), "b": torch.ones(1)}
    assert differing(one, {"a": torch.tensor([1.0, 1.0000001]), "c": torch.ones(1)}) == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("error", "status", "text"),
    [
        (SkippedError("there is none"), "skipped: there is none", ""),
        (WrongError("they differ", "| 3 |"), "failed: they differ", "| 3 |"),
        (ZeroDivisionError("by\nzero"), "failed: ZeroDivisionError: by\nzero", ""),
    ],
)
def test_what_goes_wrong_in_a_section_is_its_outcome(monkeypatch, error, status, text):
    def fail(setting):
        raise error

    monkeypatch.setitem(SECTIONS, "memory", check.replace(SECTIONS["memory"], measure=fail))
    outcome = check.run_section("memory", TINY)
    assert (outcome.status, outcome.text) == (status, text)
    summary = check.markdown("make", "here", {"memory": outcome}).splitlines()
    assert sum(line.startswith("| Peak memory | 0 | ") for line in summary) == 1


FAKE = """
import sys, time
for name in sys.argv[1:]:
    if name == "hangs":
        time.sleep(60)
    if name == "dies":
        sys.exit("no memory is left")
    print("noise")
    print('gpu_check: {"status": "done", "text": "T", "seconds": 1.5}', flush=True)
"""


def fake(started):
    def start(names):
        started.append(list(names))
        return check.Worker([sys.executable, "-S", "-c", FAKE, *names], {})

    return start


def test_sections_that_hang_or_die_are_reported_and_the_others_go_on():
    started = []
    begin = time.monotonic()
    found = check.supervise(fake(started), {"a": 5, "hangs": 0.3, "b": 5, "dies": 5, "c": 5}, 60, 5)
    assert time.monotonic() - begin < 30
    assert list(found) == ["a", "hangs", "b", "dies", "c"]
    assert found["a"] == found["b"] == found["c"] == check.Outcome("done", "T", 1.5)
    assert found["hangs"].status == "failed: stopped after 0 s"
    assert found["dies"].status == "failed: stopped by itself, no memory is left"
    assert [len(names) for names in started] == [5, 3, 1]


def test_when_the_time_is_up_the_rest_is_not_run():
    found = check.supervise(fake([]), {"hangs": 60, "a": 5}, 0.5, 5)
    assert found["hangs"].status.startswith("failed: stopped after")
    assert found["a"].status == "not run: no time was left"


def test_all_sections_together_keep_to_six_minutes():
    assert sum(section.seconds for section in SECTIONS.values()) < check.TOTAL_SECONDS < 360


def test_without_a_gpu_one_line_says_so(monkeypatch, capsys):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert check.main([]) == 2
    assert capsys.readouterr().out.splitlines() == [
        "gpu_check needs a GPU, and PyTorch finds none; --device cpu --size tiny tries the script without one."
    ]


def test_the_command_prints_the_outcome_of_its_worker(monkeypatch, capsys, tmp_path):
    calls, worker = [], check.Worker

    def started(command, variables):
        calls.append((json.loads(command[-1]), variables))
        return worker([sys.executable, "-S", "-c", FAKE, "8-bit"], {})

    monkeypatch.setattr(check, "Worker", started)
    monkeypatch.setattr(sys, "path", [*sys.path])
    options = ["--device", "cpu", "--size", "tiny", "--only", "8-bit", "--packages", str(tmp_path)]
    assert check.main(options) == 0
    out = capsys.readouterr().out
    assert out.startswith("RESULTS\n\n`python -m benchmarks.gpu_check --device cpu --size tiny --only 8-bit")
    assert "| Optimizer in 8 bits | 2 | done |" in out
    ((request, variables),) = calls
    assert request["names"] == ["8-bit"]
    assert request["setting"]["device"] == "cpu"
    assert variables["PYTHONPATH"].startswith(str(tmp_path))
    assert variables["HF_HUB_OFFLINE"] == "1"
    assert check.main(["--device", "cpu", "--only", "nothing"]) == 2
