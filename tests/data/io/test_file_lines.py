"""Messages about files name the line that an editor shows."""

import pytest

from unlearn_pl.data import read_lines, read_rows


def test_blank_lines_count(tmp_path):
    (tmp_path / "rows.jsonl").write_text('{"question": "a", "answer": "b"}\n\n\nnot json\n')
    with pytest.raises(ValueError, match=r"Line 4 of .* is not JSON"):
        read_rows(tmp_path / "rows.jsonl")


def test_a_byte_order_mark_is_no_text(tmp_path):
    (tmp_path / "lines.txt").write_bytes(b"\xef\xbb\xbfNo idea.\n\nWho knows?\n")
    assert read_lines(tmp_path / "lines.txt") == ["No idea.", "Who knows?"]
