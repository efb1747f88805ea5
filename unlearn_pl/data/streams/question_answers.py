"""Questions with answers, from a user's own files."""

from collections.abc import Mapping, Sequence
from typing import cast

from unlearn_pl.data.io.bad_rows import OnBadRow
from unlearn_pl.data.io.entries import Table
from unlearn_pl.data.io.record import BadRowError, Record, check_columns, text_of
from unlearn_pl.data.streams.pairs import PairSource
from unlearn_pl.data.text.answer_weights import Weights
from unlearn_pl.data.text.encoder import Row


class QuestionAnswers(PairSource):
    """Rows with a question and an answer; the answer is scored.

    The layouts of Alpaca and SQuAD have their question in two columns::

        QuestionAnswers("alpaca.json", question=["instruction", "input"], answer="output")
        QuestionAnswers("squad.parquet", question=["context", "question"], answer="answers")

    Args:
        path: a file (jsonl, json, csv, tsv, parquet) or a folder of such files, a
            :class:`~unlearn_pl.data.HubDataset`, or rows in memory.
        question: column of the question; of several columns, the texts that are not empty are joined by an empty line.
        answer: column of the answer, or of a list of several answers, of which every round of training draws one; also
            of a mapping with such a list as ``text``, as SQuAD has it.
        span: column of the part of the answer that must not be known, as it is written there, for evaluations that
            measure it (:class:`~unlearn_pl.callbacks.UDSEvaluation`); None for none.
        weights: column of the weights of the answer's tokens in means over tokens, a list of
            ``{"span": "Osk", "weight": 2.0}``, or of numbers, one per scored token, the end of the turn included. All
            other tokens, and rows in which the column is empty, have weight 1. None for none; weights in another file
            are those of :class:`~unlearn_pl.data.WeightedAnswers`.
        encoding: encoding of text files.
        on_bad_row: ``error`` raises at a row that cannot be read, has no question or answer, or is too long; ``skip``
            skips such rows and counts them in the log.

    Raises:
        ValueError: if ``on_bad_row`` is unknown, or no column of the question is named; when the rows are read, if one
            cannot be used.
    """

    def __init__(
        self,
        path: Table,
        question: str | Sequence[str] = "question",
        answer: str = "answer",
        *,
        span: str | None = None,
        weights: str | None = None,
        encoding: str = "utf-8",
        on_bad_row: OnBadRow = "error",
    ) -> None:
        super().__init__(path, encoding=encoding, on_bad_row=on_bad_row)
        if not question:
            raise ValueError(f"question={question!r} names no column; accepted is a name, or a list of names.")
        self.question = question if isinstance(question, str) else list(question)
        self.answer = answer
        self.span = span
        self.weights = weights

    def parse(self, row: Record) -> list[Row]:
        """The question and its answers."""
        question, given = self._asked(row), row.get(self.answer)
        answers = given.get("text") if isinstance(given, Mapping) else given
        if not isinstance(answers, list):
            alone = text_of({"text": answers}, "text") if isinstance(given, Mapping) else text_of(row, self.answer)
            return [self._marked(Row(question=question, answer=alone), row)]
        if not answers or not all(isinstance(answer, str) and answer.strip() for answer in answers):
            raise BadRowError(f"the column {self.answer!r} has {given!r}; accepted is text, or a list of texts")
        return [self._marked(Row(question=question, answer=answers), row)]

    def _marked(self, made: Row, row: Record) -> Row:
        if self.span is not None:
            made["span"] = text_of(row, self.span)
        if self.weights is not None:
            check_columns(row, (self.weights,))
            if (given := row[self.weights]) is not None:
                made["weights"] = cast(Weights, given)  # checked with the tokens that they belong to
        return made

    def _asked(self, row: Record) -> str:
        if isinstance(self.question, str):
            return text_of(row, self.question)
        check_columns(row, self.question)
        filled = [column for column in self.question if row[column] not in (None, "")]
        if not filled:
            raise BadRowError(f"the columns {self.question} are empty")
        return "\n\n".join(text_of(row, column) for column in filled)
