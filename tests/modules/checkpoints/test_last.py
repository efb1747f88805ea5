"""``ckpt_path="last"`` is the last checkpoint, or else the newest whole one, with a warning."""

import functools
import os
import shutil
from datetime import timedelta

import pytest
from lightning.pytorch.callbacks import ModelCheckpoint

from tests import kit
from unlearn_pl.commands.trainer import check_checkpoint
from unlearn_pl.modules import GradDiff
from unlearn_pl.modules.checkpoints.last import newest_whole

pytestmark = [
    pytest.mark.filterwarnings("ignore:Using ModelCheckpoint with manual optimization"),
    pytest.mark.filterwarnings("ignore:Checkpoint directory .* exists and is not empty"),
    pytest.mark.filterwarnings("ignore:The dirpath has changed"),  # the run is a copy
    pytest.mark.filterwarnings("ignore::jsonargparse._deprecated.JsonargparseDeprecationWarning"),
]

EVERY_STEP = functools.partial(ModelCheckpoint, filename="{step}", save_last="link", every_n_train_steps=1)


def fit(callback, ckpt_path=None, max_steps=3):
    trainer = kit.trainer(callbacks=[callback], enable_checkpointing=True, max_steps=max_steps, max_epochs=-1)
    trainer.fit(GradDiff(kit.model(), 0.1), kit.Questions(8, 8, batch_size=4, micro_batch_size=4), ckpt_path=ckpt_path)
    return trainer


def dangle(folder):
    (folder / "last.ckpt").unlink()
    (folder / "last.ckpt").symlink_to("step=99.ckpt")


def remove(folder):
    (folder / "last.ckpt").unlink()


def tear(folder):
    data = (folder / "step=3.ckpt").read_bytes()
    (folder / "step=3.ckpt").write_bytes(data[:5000])


def flip(folder):
    data = bytearray((folder / "step=3.ckpt").read_bytes())
    data[5000] ^= 1
    (folder / "step=3.ckpt").write_bytes(data)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A folder with the checkpoints of three steps."""
    root = tmp_path_factory.mktemp("run")
    fit(EVERY_STEP(root / "checkpoints", save_top_k=-1))
    return root


@pytest.fixture
def run(trained, tmp_path):
    """A copy of it, to be damaged."""
    shutil.copytree(trained, tmp_path / "run", symlinks=True)
    for step in (1, 2, 3):
        os.utime(tmp_path / "run" / "checkpoints" / f"step={step}.ckpt", (step, step))
    return tmp_path / "run"


@pytest.mark.parametrize(("damage", "used"), [(dangle, 3), (remove, 3), (tear, 2), (flip, 2)])
def test_last_falls_back_to_the_newest_whole_checkpoint(run, damage, used):
    damage(run / "checkpoints")
    check_checkpoint("last", run)  # of the command line
    again = EVERY_STEP(run / "checkpoints", save_top_k=-1)
    with pytest.warns(UserWarning, match=f"is no whole checkpoint .*step={used}.ckpt, the newest whole one"):
        trainer = fit(again, "last", max_steps=4)
    assert trainer.global_step == 4
    assert trainer.ckpt_path == str(run / "checkpoints" / f"step={used}.ckpt")


def test_a_whole_last_is_used_without_a_word(run):
    assert fit(EVERY_STEP(run / "checkpoints", save_top_k=-1), "last", 4).global_step == 4


@pytest.mark.parametrize("link", [True, False])
def test_a_folder_in_which_nothing_is_whole_is_an_error_that_names_a_file(run, link):
    for path in (run / "checkpoints").glob("step=*.ckpt"):
        path.write_bytes(b"torn")
    if not link:
        remove(run / "checkpoints")
    check_checkpoint("last", run)  # leaves it to the reader
    with pytest.raises(ValueError, match=r"step=\d.ckpt' cannot be used"):
        fit(EVERY_STEP(run / "checkpoints"), "last")


def test_what_a_killed_run_has_left_is_found_if_it_is_complete(run):
    folder = run / "checkpoints"
    for name in ("last", "step=1", "step=2"):
        (folder / f"{name}.ckpt").unlink()
    (folder / "step=3.ckpt").rename(folder / ".last.ckpt.unfinished")
    assert newest_whole(folder) == folder / ".last.ckpt.unfinished"
    # A folder of shards that has everything but its digests: the ranks may not have finished.
    half = folder / ".a.ckpt.unfinished"
    half.mkdir()
    for name in (".metadata", "meta.pt"):
        (half / name).write_text("something")
    assert newest_whole(folder) == folder / ".last.ckpt.unfinished"
    half.rename(folder / "a.ckpt")  # as earlier versions have written them
    assert newest_whole(folder) == folder / "a.ckpt"


def test_an_empty_folder_is_said_to_be_empty(tmp_path):
    with pytest.raises(ValueError, match="--ckpt_path last: there is no checkpoint"):
        check_checkpoint("last", tmp_path)


# ---- saving by time


class Counted(ModelCheckpoint):
    """Counts, and has a hook of its own."""

    hooks = 0

    def on_train_batch_end(self, *args):
        self.hooks += 1
        super().on_train_batch_end(*args)


@pytest.mark.parametrize("callback", [ModelCheckpoint, Counted])
def test_checkpoints_are_saved_by_time(tmp_path, callback):
    saving = callback(tmp_path, "{step}", save_top_k=-1, train_time_interval=timedelta(0))
    fit(saving)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["step=1.ckpt", "step=2.ckpt", "step=3.ckpt"]
    if callback is Counted:
        assert saving.hooks == 3


def test_no_checkpoint_is_saved_before_its_time(tmp_path):
    fit(ModelCheckpoint(tmp_path, "{step}", save_top_k=-1, train_time_interval=timedelta(hours=1)))
    assert list(tmp_path.iterdir()) == []


def test_a_callback_that_a_subclass_configures_saves_by_time(tmp_path):
    class WithCallback(GradDiff):
        def configure_callbacks(self):
            saving = ModelCheckpoint(tmp_path, "{step}", save_top_k=-1, train_time_interval=timedelta(0))
            return [*super().configure_callbacks(), saving]

    trainer = kit.trainer(max_steps=2, max_epochs=-1)
    trainer.fit(WithCallback(kit.model(), 0.1), kit.Questions(8, 8, batch_size=4, micro_batch_size=4))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["step=1.ckpt", "step=2.ckpt"]
