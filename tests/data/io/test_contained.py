"""Links that leave a folder of data are not followed, and compressed files unfold up to a limit only."""

import gzip
import json
import os
import resource
from pathlib import Path

import datasets
import pytest

from tests import kit
from unlearn_pl.data import TextDataModule, read_rows
from unlearn_pl.data.io.entries import files_of, read_entries, table_fingerprint
from unlearn_pl.data.io.find_file import find_file
from unlearn_pl.data.io.unfolded_size import LEAST

ROW = '{"question": "Who?", "answer": "Oda"}\n'


@pytest.fixture
def outside(tmp_path) -> Path:
    """A file that is no part of the data."""
    (tmp_path / "outside.jsonl").write_text('{"question": "Key?", "answer": "private"}\n')
    return tmp_path / "outside.jsonl"


@pytest.fixture
def folder(tmp_path) -> Path:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "a.jsonl").write_text(ROW)
    return tmp_path / "data"


def test_links_out_of_a_folder(folder, outside):
    (folder / "b.jsonl").symlink_to(outside)
    for read in (files_of, read_rows, table_fingerprint, lambda path: find_file(path, ["b"])):
        with pytest.raises(ValueError, match=r"b\.jsonl leads to .*outside\.jsonl, outside of the folder of data"):
            read(str(folder))
    assert read_rows(str(folder / "b.jsonl"))[0]["answer"] == "private"  # named by the user


def test_links_out_of_a_folder_with_the_same_beginning(folder, tmp_path):
    (tmp_path / "data2").mkdir()
    (tmp_path / "data2" / "c.jsonl").write_text(ROW)
    (folder / "b.jsonl").symlink_to("../data2/c.jsonl")
    with pytest.raises(ValueError, match="leads to"):
        files_of(folder)


def test_shards_are_not_followed_either(folder, outside):
    (folder / "train-00000-of-00001.parquet").symlink_to(outside)
    with pytest.raises(ValueError, match="leads to"):
        find_file(folder, ["train"])


def test_links_inside_a_folder_and_to_it(folder, tmp_path):
    (folder / "b.jsonl").symlink_to("a.jsonl")
    (tmp_path / "link").symlink_to(folder)
    assert len(read_rows(str(tmp_path / "link"))) == 2
    assert find_file(tmp_path / "link", ["b"]) == str(tmp_path / "link" / "b.jsonl")


@pytest.mark.parametrize("inside", ["", "data"])
def test_the_cache_of_the_hub(tmp_path, inside):
    repository = tmp_path / "hub" / "datasets--org--name"
    snapshot = repository / "snapshots" / "0a1b" / inside
    snapshot.mkdir(parents=True)
    (repository / "blobs").mkdir()
    (repository / "blobs" / "0123").write_text(ROW)
    (snapshot / "train.jsonl").symlink_to(os.path.relpath(repository / "blobs" / "0123", snapshot))
    assert read_rows(str(snapshot)) == [json.loads(ROW)]
    assert find_file(snapshot, ["train"])
    (snapshot / "more.jsonl").symlink_to(os.path.relpath(tmp_path, snapshot))
    assert read_rows(str(snapshot)) == [json.loads(ROW)]  # a folder is no file
    (tmp_path / "other.jsonl").write_text(ROW)
    (snapshot / "b.jsonl").symlink_to(tmp_path / "other.jsonl")
    with pytest.raises(ValueError, match="leads to"):
        read_rows(str(snapshot))


def test_a_folder_that_poses_as_the_cache(tmp_path):
    (tmp_path / "snapshots" / "0a1b").mkdir(parents=True)
    (tmp_path / "blobs").mkdir()
    (tmp_path / "blobs" / "0123").write_text(ROW)
    (tmp_path / "snapshots" / "0a1b" / "a.jsonl").symlink_to(tmp_path / "blobs" / "0123")
    with pytest.raises(ValueError, match="leads to"):
        read_rows(str(tmp_path / "snapshots" / "0a1b"))


def test_saved_folders(tmp_path, outside):
    datasets.Dataset.from_list([json.loads(ROW)]).save_to_disk(tmp_path / "saved")
    assert read_rows(str(tmp_path / "saved")) == [json.loads(ROW)]
    state = json.loads((tmp_path / "saved" / "state.json").read_text())
    state["_data_files"][0]["filename"] = "../outside.jsonl"
    (tmp_path / "saved" / "state.json").write_text(json.dumps(state))
    with pytest.raises(ValueError, match=r"leads to .*outside\.jsonl"):
        read_rows(str(tmp_path / "saved"))


def test_names_that_terminals_obey(folder):
    (folder / "b\x1b[2J.jsonl").write_text(ROW)
    with pytest.raises(ValueError, match=r"has a control character: .*b\\x1b\[2J\.jsonl\. Rename") as raised:
        files_of(folder)
    assert "\x1b" not in str(raised.value)


def bomb(path: Path, unit: bytes = b" " * 2**20) -> Path:
    """A file of a few hundred kilobytes that stands for 256 MiB."""
    member = gzip.compress(unit * (16 * 2**20 // len(unit)))
    path.write_bytes(member * 16)
    assert path.stat().st_size < 2**19
    return path


@pytest.fixture(scope="module")
def bombs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bombs")
    blanks = bomb(folder / "a.jsonl.gz")
    for name in ("a.json.gz", "a.csv.gz", "a.txt.gz", "a.jsonl"):
        os.link(blanks, folder / name)
    bomb(folder / "lines.jsonl.gz", json.dumps({"a": "b" * 2**16}).encode() + b"\n")
    return folder


@pytest.mark.parametrize("name", ["a.jsonl.gz", "a.json.gz", "a.csv.gz", "a.txt.gz", "a.jsonl", "lines.jsonl.gz"])
def test_a_compressed_file_unfolds_up_to_a_limit(bombs, name):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(ValueError, match=rf"{name} unfolds to more than \d+ MiB, over 100 times its size.*gunzip"):
        for _ in read_entries(str(bombs / name)):
            pass
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown < 150 * 2**10  # KiB; the file stands for 256 MiB


def test_a_bomb_ends_a_run_before_it_has_begun(bombs):
    data = TextDataModule(kit.tokenizer(), forget=str(bombs / "a.txt.gz"), retain=kit.rows("Ivo", 4))
    with pytest.raises(ValueError, match=r"a\.txt\.gz unfolds to more than"):
        data.setup("fit")


def test_ordinary_compressed_files_are_read(tmp_path):
    text = (ROW * 1000).encode()
    (tmp_path / "a.jsonl.gz").write_bytes(gzip.compress(text[:1]) + gzip.compress(text[1:]))  # of two members
    assert len(read_rows(str(tmp_path / "a.jsonl.gz"))) == 1000
    (tmp_path / "b.txt.gz").write_bytes(gzip.compress("\ufeffÄ b".encode("utf-16-le")))
    assert [row["text"] for _, row in read_entries(str(tmp_path / "b.txt.gz"))] == ["Ä b"]
    (tmp_path / "c.txt.gz").write_bytes(gzip.compress(b"x" * LEAST))
    ((_, row),) = read_entries(str(tmp_path / "c.txt.gz"))
    assert len(row["text"]) == LEAST
