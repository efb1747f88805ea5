"""Inference of the kind of rows in a user's file from its columns."""

from unlearn_pl.data.io.bad_rows import OnBadRow
from unlearn_pl.data.io.entries import Table, name_of, read_entries
from unlearn_pl.data.io.in_memory import kept
from unlearn_pl.data.io.record import BadRowError
from unlearn_pl.data.streams.chats import Chats
from unlearn_pl.data.streams.documents import Documents
from unlearn_pl.data.streams.question_answers import QuestionAnswers
from unlearn_pl.data.streams.source import Source

QUESTION_LAYOUTS = ((("context", "question"), "answers"), (("input", "instruction"), "output"))
"""Columns of the question, of which the last one must be there, and of the answer: those of SQuAD and Alpaca."""
ORDER = ("context", "question", "instruction", "input")
"""Columns of a question in the order of their texts."""


def detect_source(path: Table, on_bad_row: OnBadRow = "error") -> Source:
    """The source for questions with answers, conversations or texts, by the columns of the first readable row.

    Args:
        path: a file or a folder, or rows in memory.
        on_bad_row: how rows that cannot be used are handled.

    Raises:
        ValueError: if there is no such file, it has no rows, or its columns have other names.
    """
    path = kept(path)
    columns: set[str] | None = None
    first_bad = ""
    for where, row in read_entries(path):
        if not isinstance(row, BadRowError):
            columns = set(row)
            break
        if on_bad_row == "error":
            raise ValueError(f"{where}: {row}. on_bad_row='skip' skips such rows.")
        first_bad = first_bad or f" {where}: {row}."
    if columns is None:
        raise ValueError(f"{name_of(path)}: there is no row that can be read.{first_bad or ' It is empty.'}")
    if {"question", "answer"} <= columns:
        return QuestionAnswers(path, on_bad_row=on_bad_row)
    for question, answer in QUESTION_LAYOUTS:
        if {question[-1], answer} <= columns:
            present = sorted((column for column in question if column in columns), key=ORDER.index)
            return QuestionAnswers(path, present, answer, on_bad_row=on_bad_row)
    for column in ("messages", "conversations"):
        if column in columns:
            return Chats(path, column, on_bad_row=on_bad_row)
    if "text" in columns:
        return Documents(path, on_bad_row=on_bad_row)
    if {"data", "version"} == columns or columns == {"data"}:
        raise ValueError(
            f"{name_of(path)} has all rows in one, as SQuAD's own file has; accepted is a row per question, with the "
            "columns context, question and answers, such as the dataset of that name on the hub."
        )
    raise ValueError(
        f"{name_of(path)} has the columns {sorted(columns)}; understood are question and answer, messages, text, and "
        "the layouts of Alpaca (instruction, input, output), SQuAD (context, question, answers) and ShareGPT "
        "(conversations). "
        "Name others with QuestionAnswers(path, question=..., answer=...), Chats(path, column=...) or "
        "Documents(path, column=...)."
    )
