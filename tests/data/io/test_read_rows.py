"""``read_rows`` reads every format of file, and its messages name the line that an editor shows."""

import gzip
import json

import datasets
import pyarrow as pa
import pyarrow.parquet
import pytest

from unlearn_pl.data import HubDataset, read_lines, read_rows

ROWS = [{"question": "Who, again?", "answer": "Maud."}, {"question": "Where?", "answer": 'At "home".'}]
LINES = "\n\n".join(map(json.dumps, ROWS))


def write_csv(path, delimiter=","):
    cells = [["question", "answer"], *([row["question"], row["answer"]] for row in ROWS)]
    quoted = [delimiter.join('"' + cell.replace('"', '""') + '"' for cell in line) for line in cells]
    path.write_text("\n".join(quoted))


def write_folder(path):
    path.mkdir()
    for number, row in enumerate(ROWS):
        (path / f"{number}.json").write_text(json.dumps([row]))


WRITERS = {
    "rows.jsonl": lambda path: path.write_text(LINES),
    "rows.ndjson": lambda path: path.write_text(LINES),
    "lines.json": lambda path: path.write_text(LINES),
    "list.json": lambda path: path.write_text(json.dumps(ROWS)),
    "rows.csv": write_csv,
    "rows.tsv": lambda path: write_csv(path, "\t"),
    "rows.parquet": lambda path: pa.parquet.write_table(pa.Table.from_pylist(ROWS), path),
    "rows.jsonl.gz": lambda path: path.write_bytes(gzip.compress(LINES.encode())),
    "windows.jsonl": lambda path: path.write_bytes(LINES.encode("utf-16")),
    "folder": write_folder,
    "saved": lambda path: datasets.Dataset.from_list(ROWS).save_to_disk(str(path)),
    "rows.txt": lambda path: path.write_text(LINES),  # without columns of its own, it can only be JSON Lines
    "rows": lambda path: path.write_text(LINES),
}


@pytest.mark.parametrize("name", WRITERS)
def test_every_format_gives_the_same_rows(tmp_path, name):
    WRITERS[name](tmp_path / name)
    assert read_rows(tmp_path / name) == read_rows(str(tmp_path / name)) == ROWS


def test_rows_come_from_memory_and_from_the_hub(monkeypatch):
    monkeypatch.setattr(datasets, "load_dataset", lambda *args, **kwargs: datasets.Dataset.from_list(ROWS))
    assert read_rows(ROWS) == read_rows(HubDataset("somebody/questions")) == ROWS


def test_lists_and_further_columns_are_kept(tmp_path):
    rows = [{**ROWS[0], "perturbed_answer": ["Ivo.", "Oda."], "id": 7}]
    pa.parquet.write_table(pa.Table.from_pylist(rows), tmp_path / "rows.parquet")
    assert read_rows(tmp_path / "rows.parquet", ("question", "perturbed_answer")) == rows


BROKEN = {
    "a.jsonl": (
        LINES + "\n\n\nnot json\n",
        r"line 6 of .*a\.jsonl: it is not JSON \(.*\); expected is one JSON object",
    ),
    "b.jsonl": (LINES + "\n[1]", r"line 4 of .*b\.jsonl: it is not a JSON object but '\[1\]'"),
    "c.jsonl": (
        '{"question": "Who?", "reply": 1}',
        r"line 1 of .*: there is no column 'answer', only \['question', 'r",
    ),
    "d.csv": ("question,answer\nWho?,Maud.\nWhere?", r"line 3 of .*d\.csv: it has more or fewer fields"),
    "e.csv": ("q,a\nWho?,Maud.", r"line 2 of .*e\.csv: there is no column 'question', only \['a', 'q'\]"),
    "f.json": ("[1, 2", r"f\.json is not a JSON list"),
    "g.txt": ("Who?\nMaud.", r"line 1 of .*g\.txt: it is not JSON"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_message_names_the_line(tmp_path, name):
    content, message = BROKEN[name]
    (tmp_path / name).write_text(content)
    with pytest.raises(ValueError, match=message) as raised:
        read_rows(tmp_path / name)
    assert "on_bad_row" not in str(raised.value)  # which read_rows does not have


@pytest.mark.parametrize("read", [read_rows, read_lines])
def test_a_missing_file_is_named_with_its_folder(tmp_path, read):
    with pytest.raises(ValueError, match=rf"The folder {tmp_path} has no file nowhere\.csv, which is expected there"):
        read(tmp_path / "nowhere.csv")


def test_a_file_without_rows_has_none(tmp_path):
    (tmp_path / "empty.jsonl").write_text("\n")
    assert read_rows(tmp_path / "empty.jsonl") == []


def test_lines_are_read_whatever_the_extension(tmp_path):
    (tmp_path / "lines.jsonl").write_bytes(b"\xef\xbb\xbfNo idea. \r\n\nWho knows?\n")
    assert read_lines(tmp_path / "lines.jsonl") == ["No idea.", "Who knows?"]


def test_a_line_of_another_encoding_is_named(tmp_path):
    (tmp_path / "lines.txt").write_bytes("No idea.\nKeine Ahnung, Gl\xfcck.".encode("cp1252"))
    with pytest.raises(ValueError, match=r"line 2 of .*lines\.txt: byte 0xfc"):
        read_lines(tmp_path / "lines.txt")
