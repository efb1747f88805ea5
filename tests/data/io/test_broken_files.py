"""Files from which rows would be lost, or of which a raw error would tell nothing."""

import gzip
import json
import logging

import pyarrow as pa
import pyarrow.parquet
import pytest

from unlearn_pl.data import QuestionAnswers, read_rows
from unlearn_pl.data.streams.detect import detect_source

HEADER = "question,answer\n"


@pytest.fixture
def notes(caplog):
    """What the log says."""
    caplog.set_level(logging.INFO)
    return lambda: " ".join(caplog.messages)


# CSV -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("on_bad_row", ["error", "skip"])
def test_a_column_that_is_there_twice_is_named(tmp_path, on_bad_row):
    path = tmp_path / "twice.csv"
    path.write_text("question,answer,answer\nWho?,Maud.,Oda.\n")
    with pytest.raises(ValueError, match=r"twice\.csv has 2 columns called 'answer'"):
        QuestionAnswers(path, on_bad_row=on_bad_row).rows()


def test_a_column_that_is_there_twice_in_parquet(tmp_path):
    table = pa.table([["Who?"], ["Maud."], ["Oda."]], names=["question", "answer", "answer"])
    pyarrow.parquet.write_table(table, tmp_path / "twice.parquet")
    with pytest.raises(ValueError, match=r"twice\.parquet has 2 columns called 'answer'"):
        read_rows(tmp_path / "twice.parquet")


def test_empty_columns_of_a_spreadsheet_do_not_matter(tmp_path):
    (tmp_path / "a.csv").write_text("question,answer,,\nWho?,Maud.,,\n")
    assert read_rows(tmp_path / "a.csv") == [{"question": "Who?", "answer": "Maud.", "": ""}]


ROWS = [f"Who is {i}?,Maud {i}." for i in range(60)]
LOST = {
    "until the end of the file": ['"Who is 3?,Maud 3.', *ROWS[4:]],
    "until another quote": ['"Who is 3?,Maud 3.', *ROWS[4:50], '"Who?",Maud.'],
    "until a quote before a comma": ['"Who is 3?,Maud 3.', *ROWS[4:50], 'Who",is,50?'],
}


@pytest.mark.parametrize("case", LOST)
def test_no_row_is_lost_uncounted_after_an_unclosed_quote(tmp_path, notes, case):
    path = tmp_path / "quote.csv"
    rows = [*ROWS[:3], *LOST[case]]
    path.write_text(HEADER + "\n".join(rows))
    first = r"line 5 of .*quote\.csv: it .*; it ends at line {}, so that a quote is perhaps not closed"
    with pytest.raises(ValueError, match=first.format(len(rows) + 1)):
        QuestionAnswers(path).rows()

    assert len(QuestionAnswers(path, on_bad_row="skip").rows()) == 3

    assert f"{len(rows) - 3} of {len(rows)} rows are skipped; line 5 of" in notes()


def test_a_line_break_in_a_quoted_field_stays(tmp_path):
    (tmp_path / "a.csv").write_text(HEADER + 'Who?,"Maud\n\nor Oda."\nWhere?,Here.\n')
    assert [row["answer"] for row in read_rows(tmp_path / "a.csv")] == ["Maud\n\nor Oda.", "Here."]


def test_an_unclosed_quote_among_the_names_of_the_columns(tmp_path):
    (tmp_path / "a.csv").write_text('question,"answer\n' + "\n".join(ROWS))
    with pytest.raises(ValueError, match=r"The names of the columns of .*a\.csv cannot be read \(unexpected end"):
        QuestionAnswers(tmp_path / "a.csv", on_bad_row="skip").rows()


# Text ----------------------------------------------------------------------------------------------------------------

GOOD = {"question": "Who?", "answer": "Maud \U0001f600."}
HALF = {"question": "Who?", "answer": "Maud \ud83d."}
WRITERS = {
    "a.jsonl": lambda path, rows: path.write_text("\n".join(map(json.dumps, rows))),
    "a.json": lambda path, rows: path.write_text(json.dumps(rows)),
}


@pytest.mark.parametrize("name", [*WRITERS, "memory"])
def test_half_a_pair_of_surrogates(tmp_path, notes, name):
    rows = [GOOD, HALF]
    if name in WRITERS:
        WRITERS[name](tmp_path / name, rows)
        rows = tmp_path / name
    with pytest.raises(ValueError, match=r"(line|row) 2 of .*: character 6 of a text .* is '\\ud83d', one half of"):
        QuestionAnswers(rows).rows()
    assert QuestionAnswers(rows, on_bad_row="skip").rows() == [GOOD]
    assert "1 of 2 rows are skipped" in notes()


@pytest.mark.parametrize("bad", [{"messages": [{"role": "user", "content": "\ude00"}]}, {"a\ud83d": 1}, "\ud83d"])
def test_half_a_pair_anywhere_in_a_row(bad):
    with pytest.raises(ValueError, match=r"row 1 of the given rows: character \d of a text"):
        read_rows([bad], ())


# Whole files ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["a.csv", "a.jsonl", "a.json", "a.txt"])
def test_an_empty_file_is_called_empty(tmp_path, name):
    (tmp_path / name).touch()
    with pytest.raises(ValueError, match=rf"{name}: there is no row that can be read\. It is empty\."):
        detect_source(tmp_path / name)


def test_a_file_without_a_row_that_can_be_read(tmp_path):
    (tmp_path / "a.jsonl").write_text("no\nnor this\n")
    with pytest.raises(ValueError, match=r"no row that can be read\. line 1 of .*a\.jsonl: it is not JSON"):
        detect_source(tmp_path / "a.jsonl", "skip")


@pytest.mark.parametrize("name", ["a.jsonl.gz", "a.jsonl", "a.json", "a"])
def test_compressed_rows_are_read_whatever_the_name(tmp_path, name):
    (tmp_path / name).write_bytes(gzip.compress(json.dumps(GOOD).encode()))
    assert read_rows(tmp_path / name) == [GOOD]


def test_rows_are_read_though_their_name_says_compressed(tmp_path):
    (tmp_path / "a.jsonl.gz").write_text(json.dumps(GOOD))
    assert read_rows(tmp_path / "a.jsonl.gz") == [GOOD]
