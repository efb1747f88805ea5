"""Row filters for attacks."""

from collections.abc import Sequence

from unlearn_pl.data import EvaluationRow, Row
from unlearn_pl.data.evaluation.evaluation_row import Question


def questions(rows: Sequence[EvaluationRow], why: str) -> list[Row]:
    """The questions and answers of ``rows``.

    Args:
        rows: rows of a split.
        why: name of the attack or set that needs them, for the error message.

    Raises:
        ValueError: if the rows are texts or completions.
    """
    found = [row.row for row in rows if isinstance(row, Question)]
    if len(found) < len(rows) or not rows:
        kinds = sorted({type(row).__name__ for row in rows}) or ["none"]
        raise ValueError(f"{why} needs rows with a question and an answer; the split holds rows of kind {kinds}.")
    return found


def without_options(row: EvaluationRow) -> EvaluationRow:
    """``row`` with its correct answer alone: leakage is not measured on paraphrases and wrong answers."""
    if not isinstance(row, Question):
        return row
    return Question(Row(question=row.row["question"], answer=row.expected()))
