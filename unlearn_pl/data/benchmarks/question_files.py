"""Questions and answers in the columns of several benchmarks."""

from unlearn_pl.data.io.entries import Table
from unlearn_pl.data.io.record import BadRowError, Record, text_of
from unlearn_pl.data.io.rows import read_records
from unlearn_pl.data.text.encoder import Row

_COLUMNS = (("question", "answer"), ("Question", "Best Answer"), ("question", "best_answer"))
"""The usual ones, those of TruthfulQA's file, and those of TruthfulQA on the hub."""


def read_question_answers(table: Table) -> list[Row]:
    """The questions and answers of ``table``; for TruthfulQA, the best answers.

    Args:
        table: a file, a dataset of the hub, or rows.

    Raises:
        ValueError: naming the place of the first row that cannot be used, and the columns that are there.
    """
    return read_records(table, _parse, "questions and answers")


def _parse(row: Record) -> Row:
    for question, answer in _COLUMNS:
        if question in row and answer in row:
            return Row(question=text_of(row, question), answer=text_of(row, answer))
    accepted = " or ".join(" and ".join(map(repr, columns)) for columns in _COLUMNS)
    raise BadRowError(f"there are no columns {accepted}, only {sorted(map(str, row))}")
