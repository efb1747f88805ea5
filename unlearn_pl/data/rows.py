"""Rows of questions and answers, in TOFU's schema, and the checks that they must pass."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NotRequired, TypedDict

from transformers import PreTrainedTokenizerBase

from unlearn_pl.data.text import Example, Template, encode


class Row(TypedDict):
    """A question with its answers.

    Attributes:
        question: what is asked.
        answer: the answer. A training stream may give several: another one is then drawn in every round.
        paraphrased_answer: the same fact in other words (evaluation only).
        perturbed_answer: wrong answers of the same form (evaluation only).
        paraphrased_question: the question in other words (not read here).
    """

    question: str
    answer: str | Sequence[str]
    paraphrased_answer: NotRequired[str]
    perturbed_answer: NotRequired[Sequence[str]]
    paraphrased_question: NotRequired[str]


Rows = Sequence[Row]
RowSource = Rows | Callable[[], Rows]
"""Rows, or a function that loads them when they are needed."""


def load(source: RowSource, name: str) -> list[Row]:
    """The rows of ``source``.

    Args:
        source: rows, or a function that loads them.
        name: what to call them in messages: ``stream 'forget'``.

    Raises:
        ValueError: if there are no rows, or one has no question or no answer.
    """
    rows = list(source() if callable(source) else source)
    if not rows:
        raise ValueError(f"The {name} is empty: it has no rows.")
    for i, row in enumerate(rows):
        for column in ("question", "answer"):
            if column not in row:
                raise ValueError(f"Row {i} of the {name} has no column {column!r}, only {sorted(row)}.")
            if isinstance(row[column], int | float):
                raise ValueError(f"Row {i} of the {name} has the number {row[column]} as {column}; accepted is text.")
            if not row[column]:
                raise ValueError(f"Row {i} of the {name} has an empty {column}.")
    return rows


@dataclass(frozen=True)
class Encoder:
    """Tokenizes rows and refuses those that could not be used as they are.

    Args:
        tokenizer: the model's tokenizer.
        template: lays out question and answer.
        max_length: most tokens that an example may have; None for no limit.
    """

    tokenizer: PreTrainedTokenizerBase
    template: Template
    max_length: int | None = None

    def example(self, question: str, answer: str, where: str) -> Example:
        """Tokenizes question and answer.

        Args:
            question: what is asked.
            answer: what is scored.
            where: the place of the example, for messages: ``row 3 of the stream 'forget'``.

        Raises:
            ValueError: if the answer is empty, or the example is longer than ``max_length``.
        """
        if not answer.strip():
            raise ValueError(f"The answer in {where} is empty: it has no token to score.")
        example = encode(self.tokenizer, self.template, question, answer)
        if self.max_length is not None and len(example) > self.max_length:
            raise ValueError(
                f"The example in {where} has {len(example)} tokens, more than max_length={self.max_length}. "
                "Examples are never cut: raise max_length, or leave the row out."
            )
        return example

    def prompt(self, question: str) -> list[int]:
        """Token ids of the question, up to where the model answers."""
        return self.template.prompt(self.tokenizer, question)
