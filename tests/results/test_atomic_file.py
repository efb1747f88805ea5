"""A file is the old one or the whole new one."""

import os

import pytest

from unlearn_pl.results.atomic_file import atomic_file


def test_the_file_is_there_when_it_is_complete(tmp_path):
    path = tmp_path / "new" / "file"
    with atomic_file(path) as unfinished:
        unfinished.write_text("content")
        assert not path.exists()
    assert path.read_text() == "content"
    assert list(path.parent.iterdir()) == [path]


def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "file"
    path.write_text("old")

    def fail_to_write():
        with atomic_file(path) as unfinished:
            unfinished.write_text("half of the")
            raise RuntimeError("disk")

    with pytest.raises(RuntimeError, match="disk"):
        fail_to_write()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_the_content_reaches_the_disk_before_the_name_and_the_name_before_the_end(tmp_path, monkeypatch):
    calls = []
    sync, replace = os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda fd: (calls.append(os.readlink(f"/proc/self/fd/{fd}")), sync(fd)))
    monkeypatch.setattr(os, "replace", lambda old, new: (calls.append("replace"), replace(old, new)))
    with atomic_file(tmp_path / "file") as unfinished:
        unfinished.write_text("content")
    assert calls == [str(unfinished), "replace", str(tmp_path)]
