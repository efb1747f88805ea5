"""Weights of the tokens of an answer, from weights of its parts or from numbers, one per token."""

import math
from collections.abc import Mapping, Sequence
from typing import TypedDict, cast

from transformers import PreTrainedTokenizerBase

from unlearn_pl.data.text.span_tokens import span_tokens


class SpanWeight(TypedDict):
    """The weight of a part of an answer.

    Attributes:
        span: the part, as it is written in the answer; every place where it occurs counts.
        weight: weight of its tokens, not negative; tokens of no part have weight 1.
    """

    span: str
    weight: float


Weights = Sequence[SpanWeight] | Sequence[float]
"""Weights of the parts of an answer, or of its scored tokens, the end of its turn included."""


def answer_weights(
    tokens: Sequence[int], answer: str, given: Weights, tokenizer: PreTrainedTokenizerBase, where: str
) -> list[float]:
    """The weight of every scored token of an answer.

    A token with a part of several spans has the largest of their weights.

    Args:
        tokens: the scored tokens.
        answer: their text.
        given: weights of parts of the answer, or of ``tokens``.
        tokenizer: decodes the tokens.
        where: the place of the answer, for messages: ``row 3 of the stream 'forget'``.

    Raises:
        ValueError: if a weight is no number, negative or not finite, all are 0, a span is not in the answer, or there
            are not as many numbers as tokens.
    """
    if isinstance(given, str | bytes | Mapping) or not isinstance(given, Sequence) or not len(given):
        raise ValueError(f"The weights in {where} are {given!r}; {_ACCEPTED}.")
    if all(isinstance(entry, Mapping) for entry in given):
        parts = cast(Sequence[SpanWeight], given)
        weights = _of_spans(tokens, answer, parts, tokenizer, where)
    else:
        weights = [_checked(entry, where) for entry in given]
        if len(weights) != len(tokens):
            raise ValueError(
                f"There are {len(weights)} weights in {where}, whose answer {answer[:60]!r} has {len(tokens)} scored "
                f"tokens, the end of its turn included; accepted: a weight per token."
            )
    if not any(weights):
        raise ValueError(f"All tokens of the answer in {where} have weight 0; leave the row out instead.")
    return weights


_ACCEPTED = "accepted: a list of {'span': ..., 'weight': ...}, or of numbers, one per scored token"


def _of_spans(
    tokens: Sequence[int],
    answer: str,
    parts: Sequence[SpanWeight],
    tokenizer: PreTrainedTokenizerBase,
    where: str,
) -> list[float]:
    found: dict[int, float] = {}
    for part in parts:
        if part.keys() != {"span", "weight"}:
            raise ValueError(f"An entry of the weights in {where} is {part!r}; {_ACCEPTED}.")
        weight, span = _checked(part["weight"], where), part["span"]
        for first in _places(span, answer, where):
            for token in span_tokens(tokens, answer, first, first + len(span), tokenizer):
                found[token] = max(weight, found.get(token, 0.0))
    return [found.get(token, 1.0) for token in range(len(tokens))]


def _places(span: object, answer: str, where: str) -> list[int]:
    """Where ``span`` begins in ``answer``."""
    if not isinstance(span, str) or not span.strip() or span not in answer:
        raise ValueError(
            f"The span {span!r} of the weights in {where} is no part of the answer {answer!r}; accepted: a part as it "
            "is written there."
        )
    places = [answer.find(span)]
    while (following := answer.find(span, places[-1] + len(span))) >= 0:
        places.append(following)
    return places


def _checked(weight: object, where: str) -> float:
    if isinstance(weight, bool) or not isinstance(weight, int | float) or not 0 <= weight < math.inf:
        raise ValueError(f"A weight in {where} is {weight!r}; accepted: numbers that are finite and not negative.")
    return float(weight)
