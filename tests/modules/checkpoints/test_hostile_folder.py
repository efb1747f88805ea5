"""A folder of shards that someone else made runs nothing, and reads nothing outside of it."""

import io
import os
import pickle
import warnings
from pathlib import Path

import pytest
import torch
from torch.distributed import checkpoint as dcp

from unlearn_pl.modules.checkpoints.shards_index import check_index


class Runs:
    """Unpickled, it creates a file."""

    def __init__(self, file):
        self.file = str(file)

    def __reduce__(self):
        return (os.makedirs, (self.file, 0o777, True))


def state():
    return {"state_dict": {"w": torch.zeros(4)}, "optimizer_0": {"lr": 0.1}}


@pytest.fixture
def folder(tmp_path):
    """As PyTorch writes it."""
    path = tmp_path / "a.ckpt"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dcp.save(state(), checkpoint_id=path, no_dist=True)
    return path


def load(folder):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dcp.load(state(), checkpoint_id=folder, no_dist=True)


def index_of(folder):
    return pickle.loads((folder / ".metadata").read_bytes())


def write_index(folder, index):
    (folder / ".metadata").write_bytes(pickle.dumps(index))


def place(index, name):
    return next(place for key, place in index.storage_data.items() if key.fqn == name)


def in_the_index(folder, ran):
    index = index_of(folder)
    index.planner_data = Runs(ran)
    write_index(folder, index)


def in_an_entry(folder, ran):
    """The learning rate is unpickled by PyTorch whatever it is."""
    buffer = io.BytesIO()
    torch.save(Runs(ran), buffer)
    shard, index = folder / "__0_0.distcp", index_of(folder)
    lr = place(index, "optimizer_0.lr")
    lr.offset, lr.length = shard.stat().st_size, len(buffer.getvalue())
    shard.write_bytes(shard.read_bytes() + buffer.getvalue())
    write_index(folder, index)


def in_a_weight(folder, ran):
    """A weight that the index calls something else than a tensor is unpickled just so."""
    in_an_entry(folder, ran)
    index = index_of(folder)
    index.state_dict_metadata["state_dict.w"] = index.state_dict_metadata["optimizer_0.lr"]
    for key in index.storage_data:
        if key.fqn == "state_dict.w":
            index.storage_data[key] = place(index, "optimizer_0.lr")
    weight = next(key for key in index.storage_data if key.fqn == "state_dict.w")
    index.storage_data[type(weight)("state_dict.w")] = index.storage_data.pop(weight)
    write_index(folder, index)


def test_a_folder_of_pytorchs_own_passes(folder):
    check_index(folder)
    load(folder)


@pytest.mark.parametrize("attack", [in_the_index, in_an_entry, in_a_weight])
def test_code_in_a_folder_does_not_run(folder, tmp_path, attack):
    attack(folder, tmp_path / "ran")
    with pytest.raises(ValueError, match="holds more than tensors and plain data"):
        check_index(folder)
    assert not (tmp_path / "ran").exists()
    load(folder)  # so it is an attack
    assert (tmp_path / "ran").exists()


@pytest.mark.parametrize("name", ["../outside.distcp", "/etc/hostname", "link.distcp", "a/../../outside.distcp"])
def test_shards_outside_of_the_folder_are_not_read(folder, tmp_path, name):
    (tmp_path / "outside.distcp").write_bytes((folder / "__0_0.distcp").read_bytes())
    (folder / "link.distcp").symlink_to(tmp_path / "outside.distcp")
    index = index_of(folder)
    for entry in index.storage_data.values():
        entry.relative_path = name
    write_index(folder, index)
    with pytest.raises(ValueError, match=r"outside of the checkpoint's folder"):
        check_index(folder)


@pytest.mark.parametrize("content", [b"", b"\x80\x04.", b"garbage", pickle.dumps([1]), pickle.dumps({"a": 1})])
def test_an_index_that_is_none_is_an_error_that_names_it(folder, content):
    (folder / ".metadata").write_bytes(content)
    with pytest.raises(ValueError, match=r"a.ckpt/.metadata'"):
        check_index(folder)


@pytest.mark.parametrize("where", ["os.system", "torch.serialization.os.system", "torch.load", "builtins.eval"])
def test_names_beside_the_allowed_ones_are_not_found(folder, where):
    module, _, name = where.rpartition(".")
    dotted = {"torch.serialization.os": ("torch.serialization", "os.system")}.get(module, (module, name))
    # Protocol 4: the names, STACK_GLOBAL, an empty tuple, REDUCE.
    parts = b"".join(b"\x8c" + bytes([len(part)]) + part.encode() for part in dotted)
    (folder / ".metadata").write_bytes(b"\x80\x04" + parts + b"\x93)R.")
    with pytest.raises(ValueError, match="holds more than tensors and plain data"):
        check_index(folder)


def test_every_index_in_the_folder_is_checked(folder, tmp_path):
    """PyTorch reads one per rank where ranks load on their own."""
    (folder / "__1.metadata").write_bytes(pickle.dumps(Runs(tmp_path / "ran")))
    with pytest.raises(ValueError, match=r"__1.metadata"):
        check_index(folder)
    assert not Path(tmp_path / "ran").exists()


def without_a_part(index):
    index.__dict__["state_dict_metadatb"] = index.__dict__.pop("state_dict_metadata")


def with_an_impossible_name(index):
    place(index, "state_dict.w").relative_path = "__0_0\0.distcp"


@pytest.mark.parametrize("damage", [without_a_part, with_an_impossible_name])
def test_a_damaged_index_is_named(folder, damage):
    index = index_of(folder)
    damage(index)
    write_index(folder, index)
    with pytest.raises(ValueError, match=r"a.ckpt/.metadata'"):
        check_index(folder)


def test_a_damaged_entry_is_named(folder):
    index, shard = index_of(folder), folder / "__0_0.distcp"
    lr = place(index, "optimizer_0.lr")
    # "Append all to the list below the mark", with neither: an error that is none of pickle's own.
    pops_nothing = b"\x80\x02e."
    lr.offset, lr.length = shard.stat().st_size, len(pops_nothing)
    shard.write_bytes(shard.read_bytes() + pops_nothing)
    write_index(folder, index)
    with pytest.raises(ValueError, match=r"entry 'optimizer_0.lr' in '.*__0_0.distcp' of a checkpoint cannot be read"):
        check_index(folder)
