"""Two runs do not write to one folder at a time, and a killed one leaves no lock behind."""

import os
import subprocess
import sys

import pytest

from unlearn_pl.commands.run.lock import locked_folder

HOLDER = """
import fcntl, sys, time
with open(sys.argv[1], "w") as file:  # as locked_folder does, without its imports
    fcntl.flock(file, fcntl.LOCK_EX)
    print("process 7 on node3", file=file, flush=True)
    print("locked", flush=True)
    time.sleep(60)
"""


def test_a_second_run_is_an_error_until_the_first_is_killed(tmp_path):
    command = [sys.executable, "-S", "-c", HOLDER, str(tmp_path / ".fit.lock")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "locked\n"
        with pytest.raises(ValueError, match=r"Another `unlearn-pl fit` runs in .*: process 7 on node3\. Two runs"):
            locked_folder(tmp_path, "fit").__enter__()
        with locked_folder(tmp_path, "test"):
            pass  # a checkpoint may be evaluated meanwhile
        process.kill()
    with locked_folder(tmp_path, "fit"):
        assert [path.name for path in tmp_path.iterdir()] == [".fit.lock"]
        assert f"process {os.getpid()} on " in (tmp_path / ".fit.lock").read_text()
        with pytest.raises(ValueError, match="Another `unlearn-pl fit` runs in"):
            locked_folder(tmp_path, "fit").__enter__()
    assert not list(tmp_path.iterdir())


def test_the_lock_is_the_first_ranks(tmp_path, monkeypatch):
    from lightning.pytorch.utilities import rank_zero_only

    with locked_folder(tmp_path, "fit"):
        monkeypatch.setattr(rank_zero_only, "rank", 1)
        with locked_folder(tmp_path, "fit"):
            pass


def test_a_file_system_without_locks_is_said(tmp_path, monkeypatch):
    import fcntl

    def no_locks(*_):
        raise OSError(37, "No locks available")

    monkeypatch.setattr(fcntl, "flock", no_locks)
    with (
        pytest.warns(UserWarning, match=r"file system without locks \(No locks available\): nothing prevents a second"),
        locked_folder(tmp_path, "fit"),
    ):
        pass
