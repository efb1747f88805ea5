"""A file is the old one or the whole new one."""

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
