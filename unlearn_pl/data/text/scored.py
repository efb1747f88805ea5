"""Scored tokens of an answer: what a template wrote around it, and whether it wrote the answer at all."""

import re

from transformers import PreTrainedTokenizerBase

EMPTY_THOUGHTS = re.compile(r"\s*(?:<(think|thinking|seed:think)>\s*</\1>|\[THINK\]\s*\[/THINK\])\s*")


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
