"""Multiple-choice questions in the columns of WMDP and MMLU."""

from unlearn_pl.data.evaluation.multiple_choice import MultipleChoice
from unlearn_pl.data.io.entries import Table
from unlearn_pl.data.io.record import BadRowError, Record, text_of
from unlearn_pl.data.io.rows import read_records


def read_questions(table: Table, subject: str = "") -> list[MultipleChoice]:
    """The questions of ``table``, with the columns ``question``, ``choices`` and ``answer`` (a number from 0).

    Args:
        table: a file, a dataset of the hub, or rows.
        subject: their subject, if there is no column ``subject`` (with values such as ``college_biology``).

    Raises:
        ValueError: naming the place of the first row that cannot be used.
    """

    def parse(row: Record) -> MultipleChoice:
        question = text_of(row, "question")
        choices, answer = row.get("choices"), row.get("answer")
        if not isinstance(choices, list) or not isinstance(answer, int):
            kinds = {name: type(value).__name__ for name, value in row.items()}
            raise BadRowError(f"accepted are the columns question, choices (a list) and answer (a number), not {kinds}")
        about = str(row.get("subject") or subject).replace("_", " ")
        try:
            return MultipleChoice(question, [str(choice) for choice in choices], answer, about)
        except ValueError as error:
            raise BadRowError(str(error)) from error

    return read_records(table, parse, "multiple-choice questions")
