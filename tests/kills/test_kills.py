"""Killed runs lose nothing; the table of all cases is ``make kill-test``."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.kills.table import CASES, Case, Kill, Outcome, row

ROOT = Path(__file__).parents[2]


def table(*arguments: str) -> str:
    """The output of the script, in a process of its own: it forks, which a test runner with threads should not."""
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "tests.kills.table", *arguments]
    done = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_five_killed_runs_resume_to_the_same_weights():
    output = table("--cases", "1 rank, link", "--operations", "4", "--random", "1")
    assert "| 1 rank, link | 4 | 1 | 5 of 5 | 0 |" in output


@pytest.mark.slow
def test_runs_that_are_killed_anywhere_resume_to_the_same_weights():
    output = table()
    assert re.search(r"\d{3} kills, 0 failures", output)


@pytest.mark.parametrize(
    ("saved", "resumed", "same", "error", "lost"),
    [(2, 2, True, "", 0), (2, 1, True, "", 1), (2, 3, False, "", 0), (2, 2, False, "ValueError: torn", 1)],
)
def test_a_row_counts_what_was_lost_and_what_differs(saved, resumed, same, error, lost):
    outcomes = [Outcome(Kill(operation=3), saved, resumed, same, error), Outcome(Kill(), 0, 0, True)]
    assert row(Case("some"), outcomes) == f"| some | 1 | 1 | {1 + same} of 2 | {lost} |"


def test_there_is_a_case_for_every_way_to_save():
    names = {case.name for case in CASES}
    assert len(names) == len(CASES)
    for word in ("1 rank", "DDP", "FSDP2", "LoRA", "dropout", "link", "file system", "saved twice"):
        assert any(word in name for name in names)
