"""Questions with answers, from a user's own files."""

from unlearn_pl.data.io.bad_rows import OnBadRow
from unlearn_pl.data.io.entries import Table
from unlearn_pl.data.io.record import BadRowError, Record, text_of
from unlearn_pl.data.streams.pairs import PairSource
from unlearn_pl.data.text.encoder import Row


class QuestionAnswers(PairSource):
    """Rows with a question and an answer; the answer is scored.

    Args:
        path: a file (jsonl, json, csv, tsv, parquet) or a folder of such files, a
            :class:`~unlearn_pl.data.HubDataset`, or rows in memory.
        question: column of the question.
        answer: column of the answer, or of a list of several answers, of which every round of training draws one.
        encoding: encoding of text files.
        on_bad_row: ``error`` raises at a row that cannot be read, has no question or answer, or is too long; ``skip``
            skips such rows and counts them in the log.

    Raises:
        ValueError: if ``on_bad_row`` is unknown; when the rows are read, if one cannot be used.
    """

    def __init__(
        self,
        path: Table,
        question: str = "question",
        answer: str = "answer",
        *,
        encoding: str = "utf-8",
        on_bad_row: OnBadRow = "error",
    ) -> None:
        super().__init__(path, encoding=encoding, on_bad_row=on_bad_row)
        self.question = question
        self.answer = answer

    def parse(self, row: Record) -> list[Row]:
        """The question and its answers."""
        answers = row.get(self.answer)
        if not isinstance(answers, list):
            return [Row(question=text_of(row, self.question), answer=text_of(row, self.answer))]
        if not answers or not all(isinstance(answer, str) and answer.strip() for answer in answers):
            raise BadRowError(f"the column {self.answer!r} has {answers!r}; accepted is text, or a list of texts")
        return [Row(question=text_of(row, self.question), answer=answers)]
