"""Rows of evaluation splits: what is scored by teacher forcing, and what the model continues."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from unlearn_pl.data.text.encoder import Encoder, Row, load
from unlearn_pl.data.text.template import Example


class EvaluationRow(ABC):
    """One row of an evaluation split: what is scored, and what is generated.

    Most splits hold questions and answers (:class:`~unlearn_pl.data.Row`), laid out by the template. Rows of other
    kinds, such as texts, are subclasses of this class.
    """

    @abstractmethod
    def examples(self, encoder: Encoder, where: str) -> list[Example]:
        """The teacher-forced examples; ``choice`` distinguishes those of one row.

        Args:
            encoder: tokenizes.
            where: the place of the row, for messages: ``row 3 of the split 'verbmem'``.
        """

    @abstractmethod
    def content(self) -> str:
        """The text that identifies the row, for comparisons of results."""

    def prompt(self, encoder: Encoder) -> list[int] | None:
        """Token ids of the prompt that the model continues in tests; None for rows that are scored only."""
        return None

    def expected(self) -> str:
        """The text that the continuation is compared with."""
        return ""

    def asked(self) -> str:
        """What is asked, without the template; empty for rows without a question."""
        return ""

    def span(self) -> str | None:
        """The part of the answer that must not be known, as it is written there; None if the row does not say."""
        return None


@dataclass(frozen=True)
class Question(EvaluationRow):
    """A question in TOFU's schema: candidate 0 is the answer, 1 its paraphrase (if any), others are wrong answers."""

    row: Row

    def examples(self, encoder: Encoder, where: str) -> list[Example]:
        """The question with each candidate."""
        row = self.row
        paraphrase = {1: row["paraphrased_answer"]} if "paraphrased_answer" in row else {}
        wrong = dict(enumerate(row.get("perturbed_answer", ()), start=2))
        candidates = {0: self.expected(), **paraphrase, **wrong}
        return [
            replace(encoder.example(row["question"], answer, where), choice=choice)
            for choice, answer in candidates.items()
        ]

    def content(self) -> str:
        """The question and the answer."""
        return f"{self.row['question']}\n{self.row['answer']}"

    def prompt(self, encoder: Encoder) -> list[int]:
        """The question, up to where the answer begins."""
        return encoder.prompt(self.row["question"])

    def expected(self) -> str:
        """The answer; the first one of several."""
        answer = self.row["answer"]
        return answer if isinstance(answer, str) else answer[0]

    def asked(self) -> str:
        """The question; of a conversation, its last turn."""
        question = self.row["question"]
        return question if isinstance(question, str) else str(question[-1]["content"])

    def span(self) -> str | None:
        """The column ``span``, if there is one."""
        return self.row.get("span")


EvaluationRows = Sequence[Row] | Sequence[EvaluationRow]
SplitSource = EvaluationRows | Callable[[], EvaluationRows]
"""Rows of an evaluation split, or a function that loads them when they are needed."""


def load_split(source: SplitSource, name: str) -> list[EvaluationRow]:
    """The rows of ``source``.

    Args:
        source: rows, or a function that loads them.
        name: what to call them in messages: ``split 'forget'``.

    Raises:
        ValueError: if there are no rows, or one cannot be used.
    """
    given = source() if callable(source) else source
    kinds = [row for row in given if isinstance(row, EvaluationRow)]
    if kinds and len(kinds) == len(given):
        return kinds
    rows = [row for row in given if isinstance(row, Mapping)]
    if len(rows) < len(given):
        raise ValueError(f"The {name} mixes questions with rows of other kinds; accepted is one of the two.")
    return [Question(row) for row in load(rows, name)]
