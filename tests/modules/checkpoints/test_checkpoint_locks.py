"""Two Trainers do not save to one folder at a time, started from Python as well; the lock ends with ``fit``."""

import warnings

import pytest
from lightning.pytorch.callbacks import Callback, ModelCheckpoint
from lightning.pytorch.plugins.io import AsyncCheckpointIO

from tests import kit
from tests.modules.checkpoints.test_folder_lock import held
from unlearn_pl.modules import GradDiff

LOCK = ".checkpoints.lock"
REFUSED = r"Another `Trainer\.fit` runs in '.*out': process 7 on node3\. .* Use another dirpath of ModelCheckpoint"

pytestmark = pytest.mark.filterwarnings("ignore:Using ModelCheckpoint with manual", "ignore:Checkpoint directory")


class StopError(Exception):
    """Raised by a callback."""


class Looking(Callback):
    """Says whether the lock was there during training, and may raise."""

    def __init__(self, folder, error=None):
        self.folder, self.error, self.seen = folder, error, None

    def on_train_batch_start(self, *args):
        self.seen = (self.folder / LOCK).exists()
        if self.error is not None:
            raise self.error


def fit(folder, looking=None, again=False, **options):
    saving = [ModelCheckpoint(folder, filename="0", enable_version_counter=False)]
    if again:
        saving.append(ModelCheckpoint(f"{folder}/.", filename="1", every_n_train_steps=1, enable_version_counter=False))
    callbacks = [*saving, *([looking] if looking else [])]
    trainer = kit.trainer(max_epochs=1, enable_checkpointing=True, callbacks=callbacks, **options)
    trainer.fit(GradDiff(kit.model()), kit.Questions(batch_size=16, micro_batch_size=16, splits=[]))
    return trainer


def test_a_second_run_in_a_folder_is_an_error_before_its_first_step(tmp_path):
    looking = Looking(tmp_path / "out")
    with held(tmp_path / "out" / LOCK), pytest.raises(ValueError, match=REFUSED):
        fit(tmp_path / "out", looking)
    assert looking.seen is None
    fit(tmp_path / "out", looking)
    assert looking.seen


@pytest.mark.parametrize("plugins", [None, AsyncCheckpointIO], ids=["", "in the background"])
def test_the_lock_ends_with_fit(tmp_path, plugins):
    looking = Looking(tmp_path)
    trainer = fit(tmp_path, looking, again=True, plugins=None if plugins is None else [plugins()])
    assert looking.seen
    assert sorted(path.name for path in tmp_path.iterdir()) == ["0.ckpt", "1.ckpt"]
    trainer.fit_loop.max_epochs = 2
    trainer.fit(trainer.lightning_module, datamodule=trainer.datamodule)  # locks again, and ends
    assert not (tmp_path / LOCK).exists()


@pytest.mark.parametrize("error", [StopError, FileNotFoundError, KeyboardInterrupt])
def test_the_lock_ends_with_an_exception(tmp_path, error):
    looking = Looking(tmp_path / "out", error("here"))
    with pytest.raises(SystemExit if error is KeyboardInterrupt else error):
        fit(tmp_path / "out", looking)
    assert looking.seen
    assert not (tmp_path / "out").exists()  # it was new, and nothing was saved


def test_another_folder_and_an_evaluation_are_free(tmp_path):
    with held(tmp_path / "out" / LOCK):
        fit(tmp_path / "other")
        trainer = kit.trainer(enable_checkpointing=True, callbacks=[ModelCheckpoint(tmp_path / "out")])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            trainer.validate(GradDiff(kit.model()), kit.Questions(batch_size=16, micro_batch_size=16), verbose=False)
            fit(tmp_path / "out", fast_dev_run=True)


def test_without_checkpoints_there_is_no_lock(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    kit.trainer(max_steps=1).fit(GradDiff(kit.model()), kit.Questions(batch_size=16, micro_batch_size=16))
    assert not list(tmp_path.iterdir())
