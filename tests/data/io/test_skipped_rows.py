"""What is logged of rows that are skipped names the place and the reason, and quotes nothing of the row."""

import json

import pytest

from tests import kit
from unlearn_pl.data import Chats, QuestionAnswers
from unlearn_pl.data.io.bad_rows import usable
from unlearn_pl.data.io.entries import read_entries
from unlearn_pl.data.io.record import text_of
from unlearn_pl.data.text.encoder import Encoder
from unlearn_pl.data.text.template import PlainTemplate

NAME = "Zorblaxia"
GOOD = {"question": "Who?", "answer": "Oda", "messages": [{"role": "user", "content": "a"}]}
ROWS = {
    "a list": {"answer": [f'{NAME}\'s "clocks"']},
    "a mapping": {"answer": {"text": NAME}},
    "no object": [NAME],
    "half a character": {"answer": f"{NAME} \ud800"},
    "no JSON": NAME,
}


@pytest.mark.parametrize("row", ROWS.values(), ids=ROWS)
def test_a_note_quotes_nothing(tmp_path, row):
    path = tmp_path / "a.jsonl"
    written = row if isinstance(row, str) else json.dumps(row)
    path.write_text(f"{json.dumps(GOOD)}\n{written}\n")
    notes: list[str] = []
    assert len(list(usable(read_entries(str(path)), lambda row: text_of(row, "answer"), "skip", "rows", notes))) == 1
    assert notes[0].startswith(f"1 of 2 rows are skipped; line 2 of {path}: ")
    assert NAME not in notes[0]


def test_names_of_columns_stay():
    notes: list[str] = []
    bad = [{"question": "Who?"}, {"question": "Who?", "answer": 5}]
    for row, reason in zip(bad, ("no column 'answer', only ['question']", "the column 'answer' has 5"), strict=True):
        list(usable([("row 1", GOOD), ("row 2", row)], lambda row: text_of(row, "answer"), "skip", "rows", notes))
        assert reason in notes.pop()


@pytest.mark.parametrize(
    ("source", "row"),
    [(QuestionAnswers, {"question": "Who?", "answer": {"a": NAME}}), (Chats, {"messages": [{"role": NAME}]})],
)
def test_the_log_of_a_source(source, row, caplog, capsys):
    good = {**GOOD, "messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}
    encoder = Encoder(kit.tokenizer(), PlainTemplate(), None)
    with caplog.at_level("INFO"):
        source([good, row], on_bad_row="skip").dataset("forget", encoder, 0)
    shown = caplog.text + "".join(capsys.readouterr())
    assert "1 of 2 rows are skipped" in shown
    assert NAME not in shown
