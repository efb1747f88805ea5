"""Multiple-choice questions in the columns of WMDP and MMLU, and in ARC's."""

from collections.abc import Mapping, Sequence

from unlearn_pl.data.evaluation.multiple_choice import LETTERS, MultipleChoice
from unlearn_pl.data.io.entries import Table
from unlearn_pl.data.io.record import BadRowError, Record, text_of
from unlearn_pl.data.io.rows import read_records


def read_questions(table: Table, subject: str = "") -> list[MultipleChoice]:
    """The questions of ``table``, with the columns ``question``, ``choices`` and ``answer``.

    An answer is a number from 0, also as a text, a letter from A, or the text of an option. ARC's layout is read, too:
    ``choices`` with ``text`` and ``label``, and ``answerKey`` with one of the labels; or, as in its own files, with
    ``stem`` and ``choices`` in the question.

    Args:
        table: a file, a dataset of the hub, or rows.
        subject: their subject, if there is no column ``subject`` (with values such as ``college_biology``).

    Raises:
        ValueError: naming the place of the first row that cannot be used.
    """

    def parse(row: Record) -> MultipleChoice:
        row = _flat(row)
        question = text_of(row, "question")
        choices, labels = _options(row)
        answer = row["answerKey"] if row.get("answer") is None and "answerKey" in row else row.get("answer")
        about = str(row.get("subject") or subject).replace("_", " ")
        try:
            return MultipleChoice(question, choices, _number(answer, choices, labels), about)
        except BadRowError:
            raise
        except ValueError as error:
            raise BadRowError(str(error)) from error

    return read_records(table, parse, "multiple-choice questions")


def _flat(row: Record) -> Record:
    """``row`` with the parts of a question in columns of their own, which ARC's files have in one."""
    question = row.get("question")
    if not isinstance(question, Mapping):
        return row
    return {**row, "question": question.get("stem"), "choices": question.get("choices")}


def _options(row: Record) -> tuple[list[str], list[str] | None]:
    """The texts of the options, and their labels, if they have some."""
    given = row.get("choices")
    texts, labels = given, None
    if isinstance(given, Mapping):
        texts, labels = given.get("text"), given.get("label")
    elif isinstance(given, list) and given and all(isinstance(option, Mapping) for option in given):
        texts, labels = ([option.get(key) for option in given] for key in ("text", "label"))
    if not isinstance(texts, list) or (
        labels is not None and (not isinstance(labels, list) or len(labels) != len(texts))
    ):
        kinds = {name: type(value).__name__ for name, value in row.items()}
        raise BadRowError(
            "accepted are the columns question, choices (a list, or texts and labels) and answer (the number of an "
            f"option from 0, its letter or its text), not {kinds}"
        )
    return [str(text) for text in texts], labels and [str(label) for label in labels]


def _number(answer: object, choices: Sequence[str], labels: Sequence[str] | None) -> int:
    """The number, from 0, of the option that ``answer`` names."""
    if isinstance(answer, list) and len(answer) == 1:
        answer = answer[0]
    if isinstance(answer, float) and answer.is_integer():
        answer = int(answer)
    if labels is not None and str(answer) in labels:
        return labels.index(str(answer))
    if isinstance(answer, int) and not isinstance(answer, bool):
        return answer
    given = answer.strip() if isinstance(answer, str) else ""
    readings = {place for place, choice in enumerate(choices) if choice == given}
    if given.isdecimal() and int(given) < len(choices):
        readings.add(int(given))
    if len(given) == 1 and given.upper() in LETTERS[: len(choices)]:
        readings.add(LETTERS.index(given.upper()))
    if len(readings) != 1:
        raise BadRowError(
            f"answer={answer!r} names {len(readings) or 'none'} of the {len(choices)} choices "
            f"{[choice[:20] for choice in choices]}; accepted are the number of one of them, from 0, its letter"
            f"{', its label' if labels else ''} and its text"
        )
    return readings.pop()
