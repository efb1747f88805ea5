"""The tokens of an answer that hold a part of it."""

from collections.abc import Sequence

from transformers import PreTrainedTokenizerBase


def span_tokens(
    tokens: Sequence[int],
    answer: str,
    first: int,
    end: int,
    tokenizer: PreTrainedTokenizerBase,
    name: str = "part",
) -> list[int]:
    """Positions of the tokens of an answer that hold a part of ``answer[first:end]``, at least one.

    Args:
        tokens: the answer and what ends it.
        answer: the text of the answer.
        first: first character of the part.
        end: the character behind its last one.
        tokenizer: decodes the tokens.
        name: what to call the part in messages.

    Raises:
        ValueError: if the tokens do not decode to the answer.
    """
    tokens = list(tokens)
    ends = [len(str(tokenizer.decode(tokens[: n + 1]))) for n in range(len(tokens))]
    text = str(tokenizer.decode(tokens))
    span = answer[first:end]
    begin = text.find(answer.strip())
    start = text.find(span) if begin < 0 else begin + first - _leading(answer)
    if start < 0:
        raise ValueError(
            f"The {name} {span!r} of the answer {answer[:60]!r} is not in what its tokens decode to, {text[:60]!r}."
        )
    starts = [0, *ends[:-1]]
    spaces = [_leading(text[begun:ended]) for begun, ended in zip(starts, ends, strict=True)]
    stop = start + len(span)
    return [
        n for n, (begun, space, ended) in enumerate(zip(starts, spaces, ends, strict=True))
        if begun + space < stop and ended > start
    ]  # fmt: skip


def _leading(text: str) -> int:
    return len(text) - len(text.lstrip())
