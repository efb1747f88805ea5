"""Folders of shards (FSDP2) are whole or absent, and every change in them is found by all ranks."""

import json
import os
import pickle
import random
import shutil
from pathlib import Path

import pytest
import torch

from tests.distributed import checkpoint_cases as cases
from unlearn_pl.modules.checkpoints.folder import folder_damage

pytestmark = [
    pytest.mark.distributed,
    pytest.mark.filterwarnings("ignore:.*FSDP.state_dict_type"),
]


@pytest.fixture(scope="module")
def run(pool, tmp_path_factory):
    """A folder with the checkpoints of two steps."""
    folder = tmp_path_factory.mktemp("run")
    pool.run(cases.trained, 2, str(folder))
    return folder


@pytest.fixture
def copy(run, tmp_path):
    """A copy of the last checkpoint, to be changed."""
    return Path(shutil.copytree(run / "step=2.ckpt", tmp_path / "step=2.ckpt"))


def test_a_folder_has_digests_of_all_its_files(run):
    assert sorted(path.name for path in run.iterdir()) == ["step=2.ckpt"]  # and nothing left of the other
    listed = json.loads((run / "step=2.ckpt" / "digests.json").read_text())
    assert sorted([*listed, "digests.json"]) == sorted(os.listdir(run / "step=2.ckpt"))
    assert set(listed) == {".metadata", "meta.pt", "__0_0.distcp", "__1_0.distcp"}


def test_a_resumed_run_is_the_uninterrupted_one(pool, run):
    whole, resumed = pool.run(cases.trained, 3)[0], pool.run(cases.trained, 3, None, str(run / "step=2.ckpt"))[0]
    assert resumed["steps"] == 3
    for name, value in whole["state"].items():
        torch.testing.assert_close(resumed["state"][name], value, rtol=0, atol=0)


@pytest.mark.parametrize("name", ["__0_0.distcp", "__1_0.distcp"])
def test_all_ranks_find_a_changed_bit(pool, copy, name):
    data = bytearray((copy / name).read_bytes())
    data[len(data) // 2] ^= 1
    (copy / name).write_bytes(data)
    messages = pool.run(cases.error, 3, str(copy))
    assert messages[0] == messages[1]
    assert f"step=2.ckpt' cannot be used: the content of its file {name!r} does not agree" in messages[0]


def test_changed_bits_are_not_overlooked(copy):
    files = sorted(copy.iterdir())
    bits = [(path, bit) for path in files for bit in range(8 * path.stat().st_size)]
    assert folder_damage(copy, ranks=1) is None
    silent = []
    for path, bit in random.Random(0).sample(bits, 40):
        whole = path.read_bytes()
        changed = bytearray(whole)
        changed[bit // 8] ^= 1 << bit % 8
        path.write_bytes(changed)
        if folder_damage(copy, ranks=1) is None:
            silent.append((path.name, bit))
        path.write_bytes(whole)
    assert silent == []


@pytest.mark.parametrize("name", [".metadata", "meta.pt", "__1_0.distcp"])
def test_a_torn_folder_is_found_by_names_and_sizes(copy, name):
    (copy / name).write_bytes((copy / name).read_bytes()[:-1])
    assert f"its file {name!r} has" in folder_damage(copy)
    (copy / name).unlink()
    assert folder_damage(copy) is not None


def test_a_folder_of_an_earlier_version_still_loads(pool, copy):
    (copy / "digests.json").unlink()
    assert pool.run(cases.trained, 3, None, str(copy))[0]["steps"] == 3


def test_last_falls_back_to_the_newest_whole_folder(pool, run, tmp_path):
    for step in (1, 2):
        shutil.copytree(run / "step=2.ckpt", tmp_path / f"step={step}.ckpt")
    (tmp_path / "last.ckpt").symlink_to("step=2.ckpt")
    (tmp_path / "step=2.ckpt" / "__0_0.distcp").unlink()
    assert {rank["from"] for rank in pool.run(cases.trained, 3, str(tmp_path), "last")} == {
        str(tmp_path / "step=1.ckpt")
    }


def test_a_folder_takes_the_place_of_another(pool, tmp_path):
    assert pool.run(cases.saved_over, str(tmp_path)) == [["last.ckpt"]] * 2
    assert folder_damage(tmp_path / "last.ckpt", ranks=1) is None


class Runs:
    """Unpickled, it creates a folder."""

    def __init__(self, path) -> None:
        self.path = str(path)

    def __reduce__(self):
        return (os.mkdir, (self.path,))


@pytest.mark.parametrize("name", [".metadata", "meta.pt"])
def test_nothing_runs_on_any_rank(pool, copy, tmp_path, name):
    (copy / "digests.json").unlink()
    if name == "meta.pt":
        torch.save(Runs(tmp_path / "ran"), copy / name)
    else:
        (copy / name).write_bytes(pickle.dumps(Runs(tmp_path / "ran")))
    for message in pool.run(cases.error, 3, str(copy)):
        assert "holds more than tensors and plain data" in message
    assert not (tmp_path / "ran").exists()
