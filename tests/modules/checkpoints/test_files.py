"""Checkpoints that the Trainer writes are whole or absent, links move in one step, and damage is an error."""

import errno
import os
import shutil
from pathlib import Path

import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.plugins.io import AsyncCheckpointIO, TorchCheckpointIO

from tests import kit
from unlearn_pl.data import UnlearningDataModule
from unlearn_pl.modules import GradDiff, ModelModule
from unlearn_pl.modules.checkpoints.replacing import put_in_place, replace_link
from unlearn_pl.results.checkpoint_file import check_file

pytestmark = [
    pytest.mark.filterwarnings("ignore:Using ModelCheckpoint with manual optimization"),
    pytest.mark.filterwarnings("ignore:Be aware that when using `ckpt_path`"),
    pytest.mark.filterwarnings("ignore:Checkpoint directory .* exists and is not empty"),
    pytest.mark.filterwarnings("ignore::jsonargparse._deprecated.JsonargparseDeprecationWarning"),
]


def fit(*callbacks, module=None, ckpt_path=None, **options):
    trainer = kit.trainer(callbacks=list(callbacks), enable_checkpointing=bool(callbacks), **options)
    module = GradDiff(kit.model(), 0.1) if module is None else module
    trainer.fit(module, kit.Questions(8, 8, batch_size=4, micro_batch_size=4), ckpt_path=ckpt_path)
    return trainer


def has_digest(path: Path) -> bool:
    return b"unlearn_pl sha256" in path.read_bytes()[-100:]


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    path = tmp_path_factory.mktemp("checkpoints") / "a.ckpt"
    fit(max_steps=1).save_checkpoint(path)
    return path


def test_the_trainer_writes_a_digest_and_leaves_nothing_else(written):
    assert has_digest(written)
    assert list(written.parent.iterdir()) == [written]


def test_a_disk_that_fills_up_leaves_the_old_checkpoint(tmp_path, monkeypatch):
    trainer = fit(max_steps=1)
    path = tmp_path / "a.ckpt"
    trainer.save_checkpoint(path)
    before = path.read_bytes()

    def no_space(descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", no_space)
    with pytest.raises(OSError, match="No space left"):
        trainer.save_checkpoint(path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def damaged(written: Path, folder: Path) -> Path:
    data = bytearray(written.read_bytes())
    data[len(data) // 2] ^= 4
    path = folder / "changed.ckpt"
    path.write_bytes(data)
    return path


def test_every_reader_finds_a_changed_bit(written, tmp_path):
    path = damaged(written, tmp_path)
    with pytest.raises(ValueError, match=r"changed.ckpt' cannot be used: its content does not agree with the SHA-256"):
        fit(ckpt_path=path, max_steps=2)
    for method in ("validate", "test", "predict"):
        trainer = kit.trainer(limit_val_batches=1)
        with pytest.raises(ValueError, match=r"changed.ckpt' cannot be used"):
            getattr(trainer, method)(GradDiff(kit.model(), 0.1), kit.Questions(), ckpt_path=path)
    for reader in (ModelModule, GradDiff, UnlearningDataModule):
        with pytest.raises(ValueError, match=r"changed.ckpt' cannot be used"):
            reader.load_from_checkpoint(path)


def test_old_checkpoints_without_a_digest_still_load(written, tmp_path):
    torch.save(torch.load(written, weights_only=True), tmp_path / "old.ckpt")
    assert fit(ckpt_path=tmp_path / "old.ckpt", max_steps=2).global_step == 2


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"weights": torch.ones(2)}, r"some.ckpt' holds no weights under 'state_dict', but \['weights'\]"),
        ({"state_dict": {"weight": torch.ones(2)}}, r"some.ckpt' was written by another kind of module"),
    ],
)
def test_files_of_something_else_are_errors(tmp_path, content, message):
    torch.save(content, tmp_path / "some.ckpt")
    with pytest.raises(ValueError, match=message):
        fit(ckpt_path=tmp_path / "some.ckpt", max_steps=1)
    trainer = kit.trainer(limit_val_batches=1)
    with pytest.raises(ValueError, match=message):
        trainer.validate(GradDiff(kit.model(), 0.1), kit.Questions(), ckpt_path=tmp_path / "some.ckpt")


def test_objects_are_not_unpickled(tmp_path, written):
    content = torch.load(written, weights_only=True)
    torch.save({**content, "more": OwnIO()}, tmp_path / "some.ckpt")
    with pytest.raises(ValueError, match=r"some.ckpt' holds more than tensors and plain data"):
        fit(ckpt_path=tmp_path / "some.ckpt", max_steps=1)


class OwnIO(TorchCheckpointIO):
    """A user's own."""


def test_a_users_own_io_stays(tmp_path, written):
    trainer = kit.trainer(plugins=[OwnIO()], max_steps=1)
    trainer.fit(GradDiff(kit.model(), 0.1), kit.Questions(8, 8, batch_size=4, micro_batch_size=4))
    trainer.save_checkpoint(tmp_path / "a.ckpt")
    assert not has_digest(tmp_path / "a.ckpt")
    # Its files are its own business.
    (tmp_path / "b.ckpt").write_bytes((tmp_path / "a.ckpt").read_bytes() + b"more")
    trainer.strategy.checkpoint_io.load_checkpoint = lambda path, **_: torch.load(written, weights_only=True)
    trainer.validate(GradDiff(kit.model(), 0.1), kit.Questions(), ckpt_path=tmp_path / "b.ckpt")


@pytest.mark.parametrize("inner", [None, TorchCheckpointIO, OwnIO])
def test_wrappers_stay_and_write_with_a_digest_unless_what_they_wrap_is_a_users_own(tmp_path, inner):
    io = AsyncCheckpointIO(None if inner is None else inner())
    trainer = kit.trainer(plugins=[io], max_steps=1)
    trainer.fit(GradDiff(kit.model(), 0.1), kit.Questions(8, 8, batch_size=4, micro_batch_size=4))
    trainer.save_checkpoint(tmp_path / "a.ckpt")
    io.teardown()
    assert trainer.strategy.checkpoint_io is io
    assert has_digest(tmp_path / "a.ckpt") == (inner is not OwnIO)


# ---- links


@pytest.mark.parametrize("links", [True, False])
@pytest.mark.parametrize("folder", [False, True])
@pytest.mark.parametrize("old", ["link", "file", "folder", None])
def test_a_link_is_replaced_by_the_next(tmp_path, monkeypatch, links, folder, old):
    for name in ("one", "two"):
        if folder:
            (tmp_path / name).mkdir()
            (tmp_path / name / "shard").write_text(name)
        else:
            (tmp_path / name).write_text(name)
    link = tmp_path / "last"
    match old:
        case "link":
            link.symlink_to("one")
        case "file":
            link.write_text("old")
        case "folder":
            link.mkdir()
            (link / "shard").write_text("old")
    if not links:

        def no_links(*_):
            raise OSError(errno.EPERM, "Operation not permitted")

        monkeypatch.setattr(os, "symlink", no_links)
    replace_link(str(tmp_path / "two"), str(link))
    assert link.is_symlink() == links
    assert (link / "shard" if folder else link).read_text() == "two"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["last", "one", "two"]


def test_the_link_is_there_at_every_moment(tmp_path, monkeypatch):
    (tmp_path / "one").write_text("one")
    link = tmp_path / "last"
    link.symlink_to("one")
    seen = []
    for name in ("symlink", "replace", "unlink", "remove", "rename"):
        call = getattr(os, name)

        def watched(*args, call=call, name=name, **kwargs):
            seen.append((name, link.exists()))
            return call(*args, **kwargs)

        monkeypatch.setattr(os, name, watched)
    replace_link(str(tmp_path / "one"), str(link))
    assert ("replace", True) in seen
    assert all(there for _, there in seen)


def test_a_folder_that_cannot_be_replaced_at_once_is_never_lost(tmp_path, monkeypatch):
    for name in ("a.ckpt", ".a.ckpt.unfinished"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "shard").write_text(name)
    states = []
    rmtree = shutil.rmtree

    def watched(path, *args, **kwargs):
        states.append(sorted(p.name for p in tmp_path.iterdir()))
        rmtree(path, *args, **kwargs)

    monkeypatch.setattr(shutil, "rmtree", watched)
    put_in_place(tmp_path / ".a.ckpt.unfinished", tmp_path / "a.ckpt")
    assert states == [[".a.ckpt.replaced", "a.ckpt"]]
    assert (tmp_path / "a.ckpt" / "shard").read_text() == ".a.ckpt.unfinished"


def test_model_checkpoint_links_in_one_step(tmp_path, monkeypatch):
    """``ModelCheckpoint._link_checkpoint``, which Lightning calls on the instance."""
    there = []
    symlink = os.symlink

    def watched(*args):
        there.append((tmp_path / "last.ckpt").is_symlink())
        symlink(*args)

    monkeypatch.setattr(os, "symlink", watched)
    fit(ModelCheckpoint(tmp_path, "{step}", save_last="link", every_n_train_steps=1), max_steps=3)
    assert there == [False, True, True]
    assert os.readlink(tmp_path / "last.ckpt") == "step=3.ckpt"
    check_file(tmp_path / "last.ckpt")


def test_a_link_that_dangles_is_removed_itself(tmp_path):
    trainer = fit(max_steps=1)
    (tmp_path / "last.ckpt").symlink_to("gone.ckpt")
    trainer.strategy.remove_checkpoint(tmp_path / "last.ckpt")
    assert list(tmp_path.iterdir()) == []
