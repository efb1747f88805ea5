"""Rows of questions and answers in TOFU's schema: their checks, and their tokenization."""

from collections.abc import Callable, Sequence, Sized
from dataclasses import dataclass, replace
from typing import NotRequired, TypedDict

from transformers import PreTrainedTokenizerBase

from unlearn_pl.data.text.answer_weights import Weights
from unlearn_pl.data.text.plain import encode_completion, encode_prompt
from unlearn_pl.data.text.template import Asked, Example, Template, encode
from unlearn_pl.data.text.truncation import without_beginning


class Row(TypedDict):
    """A question with its answers.

    Attributes:
        question: what is asked, or the turns of a conversation before the answer.
        answer: the answer. A training stream may have several, of which every round draws one.
        paraphrased_answer: the same fact in other words (evaluation only).
        perturbed_answer: wrong answers of the same form (evaluation only).
        paraphrased_question: the question in other words (read by attacks only).
        span: the part of the answer that must not be known, as it is written there (read by evaluations only).
        weights: weights of parts of the answer, or of its tokens (read in training only).
    """

    question: Asked
    answer: str | Sequence[str]
    paraphrased_answer: NotRequired[str]
    perturbed_answer: NotRequired[Sequence[str]]
    paraphrased_question: NotRequired[str]
    span: NotRequired[str]
    weights: NotRequired[Weights]


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


class TooLongError(ValueError):
    """An example with more tokens than allowed, which cannot be cut."""


@dataclass(frozen=True)
class Encoder:
    """Tokenizes rows, and raises an error for those that cannot be used.

    Args:
        tokenizer: the model's tokenizer.
        template: lays out question and answer.
        max_length: most tokens of an example; None for no limit.
        truncate: cut the beginning of the question of longer examples, instead of raising an error.
    """

    tokenizer: PreTrainedTokenizerBase
    template: Template
    max_length: int | None = None
    truncate: bool = False

    def example(self, question: Asked, answer: str, where: str) -> Example:
        """Tokenizes question and answer.

        Args:
            question: what is asked; plain text may be cut, a conversation never is.
            answer: what is scored; never cut.
            where: the place of the example, for messages: ``row 3 of the stream 'forget'``.

        Raises:
            ValueError: if the answer is empty.
            TooLongError: if the example is longer than ``max_length``, and cannot be cut.
        """
        if not answer.strip():
            raise ValueError(f"The answer in {where} is empty: it has no token to score.")
        example = encode(self.tokenizer, self.template, question, answer)
        if self._fits(example):
            return example
        if not isinstance(question, str):
            raise TooLongError(
                f"The conversation in {where} has {len(example)} tokens, more than max_length={self.max_length}. Turns "
                "are never cut: raise max_length, drop the row, or leave out its first turns."
            )
        if not self.truncate:
            raise TooLongError(
                f"The example in {where} has {len(example)} tokens, more than max_length={self.max_length}. "
                "Raise max_length, drop the row, or cut long questions with truncate=True; answers are never cut."
            )
        shorter = without_beginning(
            question, lambda end: self._fits(encode(self.tokenizer, self.template, end, answer))
        )
        if shorter is None:
            raise TooLongError(
                f"The answer in {where} and the template alone have more tokens than max_length={self.max_length}. "
                "Answers are never cut: raise max_length, or drop the row."
            )
        return encode(self.tokenizer, self.template, shorter, answer)

    def prompt(self, question: Asked) -> list[int]:
        """Token ids of the question, up to where the answer begins."""
        prompt = self.template.prompt(self.tokenizer, question)
        if self._fits(prompt) or not self.truncate or not isinstance(question, str):
            return prompt
        shorter = without_beginning(question, lambda end: self._fits(self.template.prompt(self.tokenizer, end)))
        return prompt if shorter is None else self.template.prompt(self.tokenizer, shorter)

    def completion(self, text: str, answer: str, where: str, keep_spaces: bool = False) -> Example:
        """Tokenizes a prompt and its continuation verbatim, without the template.

        Args:
            text: the prompt.
            answer: what is scored; never cut.
            where: the place of the example, for messages.
            keep_spaces: whether the spaces at the end of the prompt are a part of it.

        Raises:
            ValueError: as in :meth:`example`.
        """
        if not answer.strip():
            raise ValueError(f"The answer in {where} is empty: it has no token to score.")
        example = encode_completion(self.tokenizer, text, answer, keep_spaces)
        if self._fits(example):
            return example
        excess = len(example) - (self.max_length or 0)
        if not self.truncate or excess >= example.prompt_length:
            raise TooLongError(
                f"The example in {where} has {len(example)} tokens, more than max_length={self.max_length}. "
                f"Raise max_length, leave the row out, or cut prompts with truncate=True (now {self.truncate}); "
                "answers are never cut."
            )
        ids = self._without(example.input_ids, excess)
        return replace(example, input_ids=ids, prompt_length=example.prompt_length - excess)

    def completion_prompt(self, text: str, answer: str, keep_spaces: bool = False) -> list[int]:
        """Token ids of a prompt without the template, cut as in :meth:`completion`, so that the answer has room."""
        ids = encode_prompt(self.tokenizer, text, keep_spaces)
        excess = len(encode_completion(self.tokenizer, text, answer)) - (self.max_length or 0)
        if self.max_length is None or not self.truncate or not 0 < excess < len(ids):
            return ids
        return self._without(ids, excess)

    def _fits(self, tokens: Sized) -> bool:
        return self.max_length is None or len(tokens) <= self.max_length

    def _without(self, ids: list[int], excess: int) -> list[int]:
        """``ids`` without ``excess`` tokens at its beginning; a begin-of-sequence token stays."""
        kept = int(ids[0] == self.tokenizer.bos_token_id)
        return ids[:kept] + ids[kept + excess :]
