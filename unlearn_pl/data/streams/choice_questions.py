"""Multiple-choice questions, from files."""

from unlearn_pl.data.evaluation.multiple_choice import MultipleChoice
from unlearn_pl.data.evaluation.multiple_choice_files import read_questions
from unlearn_pl.data.io.entries import Table
from unlearn_pl.data.io.in_memory import kept
from unlearn_pl.data.io.recorded_rows import with_described
from unlearn_pl.data.streams.right_answers import RightAnswers
from unlearn_pl.recording import arguments_of


class ChoiceQuestions(RightAnswers):
    """Multiple-choice questions in the columns of WMDP and MMLU, or ARC's; the letter of the correct option is scored.

    Args:
        path: a file (jsonl, json, parquet), a :class:`~unlearn_pl.data.HubDataset`, or rows, with the columns
            ``question``, ``choices`` and ``answer`` (a number from 0, a letter, or the text of an option), or those of
            ARC (``question``, ``choices`` with texts and labels, ``answerKey``).
        subject: subject of the questions, for their first line, if there is no column ``subject``; empty for no such
            line. WMDP's are about ``biology``, ``chemistry`` and ``cybersecurity``.
        size: number of rows, from the first one; None for all.

    Raises:
        ValueError: if ``size`` is not positive; when the rows are read, if one cannot be used.
    """

    def __init__(self, path: Table, subject: str = "", *, size: int | None = None) -> None:
        super().__init__(size)
        self.path = kept(path)
        self.subject = subject

    def recorded_arguments(self) -> dict[str, object]:
        """The arguments, with a description of rows in memory in their place."""
        return with_described(arguments_of(self), ("path",))

    def rows(self) -> list[MultipleChoice]:
        """The questions."""
        return read_questions(self.path, self.subject)
