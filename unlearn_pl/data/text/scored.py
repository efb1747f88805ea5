"""Scored tokens of an answer: what a template wrote around it, and whether it wrote the answer at all."""

import re
from collections.abc import Callable, Sequence

from transformers import PreTrainedTokenizerBase

from unlearn_pl.models.markers import is_marker

EMPTY_THOUGHTS = re.compile(r"\s*(?:<(think|thinking|seed:think)>\s*</\1>|\[THINK\]\s*\[/THINK\])\s*")

BEGUN_THOUGHTS = re.compile(r"(?:<(?:think|thinking|seed:think)>|\[THINK\])\s*$")
PROBES = ("A", "B")
"""Answers whose layouts differ in the answer alone."""

Layout = Callable[[str], list[int]]
"""An answer to the token ids of a whole conversation that ends with it."""


def shared_length(first: Sequence[int], second: Sequence[int]) -> int:
    """Number of tokens with which both begin."""
    pairs = enumerate(zip(first, second, strict=False))
    return next((place for place, (one, other) in pairs if one != other), min(len(first), len(second)))


def begins_thoughts(tokenizer: PreTrainedTokenizerBase, prompt: list[int], start: int) -> bool:
    """Whether ``prompt`` ends with the beginning of a block of thoughts that reaches back to token ``start``.

    Some templates, such as that of DeepSeek-R1's distilled models, begin thoughts in the prompt, and write none in
    front of an answer that they are given.
    """
    begun = BEGUN_THOUGHTS.search(str(tokenizer.decode(prompt[-16:])))
    return begun is not None and begun[0].endswith(str(tokenizer.decode(prompt[start:])))


def header_of(layout: Layout, start: int) -> list[int]:
    """Token ids between token ``start`` and the answer that a template writes whatever the answer is.

    Args:
        layout: lays out the conversation.
        start: number of tokens of the prompt.
    """
    first, second = (layout(answer)[start:] for answer in PROBES)
    return [] if first == second else first[: shared_length(first, second)]


def up_to_end_of_turn(tokenizer: PreTrainedTokenizerBase, scored: list[int], layout: Layout) -> list[int]:
    """``scored`` up to the token that ends the turn; that is the end-of-sequence token if the template has no other.

    Templates write more after it, a line break and the end of the sequence, which a model never generates.

    Args:
        tokenizer: made the tokens; it has an end-of-sequence token.
        scored: token ids of an answer and what follows it.
        layout: lays out the conversation; it is asked only where an answer may end with an added token of its own.
    """
    first = len(scored)  # of the blank and added tokens at the end
    while first and (is_marker(tokenizer, scored[first - 1]) or _is_blank(tokenizer, scored[first - 1])):
        first -= 1
    markers = [place for place in range(first, len(scored)) if is_marker(tokenizer, scored[place])]
    if markers and scored[markers[0]] not in tokenizer.all_special_ids:
        after = _after_answer(layout)
        markers = [place for place in markers if place >= len(scored) - len(after)]
    if markers:
        return scored[: markers[0] + 1]
    end = len(scored)
    while end and _is_blank(tokenizer, scored[end - 1]):
        end -= 1
    return [*scored[:end], tokenizer.eos_token_id]


def _after_answer(layout: Layout) -> list[int]:
    """Token ids that a template writes after an answer, whatever the answer is."""
    first, second = (layout(answer)[::-1] for answer in PROBES)
    return [] if first == second else first[: shared_length(first, second)]


def _is_blank(tokenizer: PreTrainedTokenizerBase, token: int) -> bool:
    return not str(tokenizer.decode([token])).strip()


def empty_thoughts(tokenizer: PreTrainedTokenizerBase, scored: list[int]) -> int:
    """Number of tokens at the beginning of ``scored`` that are an empty block of thoughts, as Qwen3's template has it.

    Args:
        tokenizer: made the tokens.
        scored: token ids after the prompt.
    """
    block = EMPTY_THOUGHTS.match(str(tokenizer.decode(scored)))
    if block is None:
        return 0
    tokens = 0
    for n in range(1, len(scored)):
        text = str(tokenizer.decode(scored[:n]))
        if len(text) > block.end():
            break
        if EMPTY_THOUGHTS.fullmatch(text):
            tokens = n
    return tokens


def is_written(tokenizer: PreTrainedTokenizerBase, scored: list[int], answer: str) -> bool:
    """Whether ``scored`` begins with ``answer``, white space and special tokens apart.

    Templates may also write the answer in another form, so False does not say that it is missing.

    Args:
        tokenizer: made the tokens.
        scored: token ids of the answer and its end.
        answer: what is to be scored.
    """
    text = str(tokenizer.decode(scored, skip_special_tokens=True))  # not the end of a turn, which may be "<end>"
    return "".join(text.split()).startswith("".join(answer.split()))
