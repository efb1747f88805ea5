"""Two runs do not write to one folder at a time, and a killed one leaves no lock behind."""

import os
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest
from lightning.pytorch.callbacks import ModelCheckpoint

from tests import kit
from unlearn_pl.modules import GradDiff
from unlearn_pl.modules.checkpoints.folder_lock import locked_folder

HOLDER = """
import fcntl, sys, time
with open(sys.argv[1], "w") as file:  # as locked_folder does, without its imports
    fcntl.flock(file, fcntl.LOCK_EX)
    print("process 7 on node3", file=file, flush=True)
    print("locked", flush=True)
    time.sleep(60)
"""


@contextmanager
def held(path: Path):
    """The lock file ``path``, held by another process."""
    path.parent.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-S", "-c", HOLDER, str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "locked\n"
        try:
            yield process
        finally:
            process.kill()


def test_a_second_run_is_an_error_until_the_first_is_killed(tmp_path):
    with held(tmp_path / ".fit.lock"):
        with pytest.raises(ValueError, match=r"Another `unlearn-pl fit` runs in .*: process 7 on node3\. Two runs"):
            locked_folder(tmp_path, "fit").__enter__()
        with locked_folder(tmp_path, "test"):
            pass  # a checkpoint may be evaluated meanwhile
    with locked_folder(tmp_path, "fit"):
        assert [path.name for path in tmp_path.iterdir()] == [".fit.lock"]
        assert f"process {os.getpid()} on " in (tmp_path / ".fit.lock").read_text()
        with pytest.raises(ValueError, match="Another `unlearn-pl fit` runs in"):
            locked_folder(tmp_path, "fit").__enter__()
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("error", [FileNotFoundError, OSError, KeyError])
def test_an_error_inside_comes_out_as_it_is(tmp_path, error):
    with pytest.raises(error, match="inside"), locked_folder(tmp_path, "fit"):
        raise error("inside")
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


@pytest.fixture
def fit(tmp_path):
    """Trains with checkpoints in ``tmp_path/checkpoints``; gives back the module."""

    def run(**options):
        saving = ModelCheckpoint(options.get("dirpath", tmp_path / "checkpoints"), save_on_train_epoch_end=True)
        module = GradDiff(kit.model())
        trainer = kit.trainer(
            max_epochs=1, enable_checkpointing=True, callbacks=[saving, *options.get("callbacks", [])]
        )
        trainer.fit(module, kit.Questions(batch_size=16, micro_batch_size=16, splits=[]))
        return module

    return run


pytestmark = pytest.mark.filterwarnings("ignore:Using ModelCheckpoint with manual", "ignore:Checkpoint directory")


def test_a_folder_of_checkpoints_that_cannot_be_written_is_found_before_training(fit):
    with pytest.raises(ValueError, match=r"dirpath of ModelCheckpoint: .* cannot be written to"):
        fit(dirpath="/proc/version/out")
