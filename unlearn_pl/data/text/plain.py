"""Tokenization without a template: only the tokenizer itself adds something, at the beginning."""

from itertools import takewhile

from transformers import PreTrainedTokenizerBase

from unlearn_pl.data.text.template import Example, tokens_of


def encode_prompt(tokenizer: PreTrainedTokenizerBase, text: str, keep_spaces: bool = False) -> list[int]:
    """Token ids of a prompt, by default without the spaces at its end.

    Tokenizers attach spaces to the word that follows them, so a model continues badly after a space.

    Args:
        tokenizer: a tokenizer.
        text: the prompt.
        keep_spaces: whether the spaces at its end are a part of it.
    """
    return tokens_of(tokenizer, text if keep_spaces else text.rstrip(" "))


def encode_completion(tokenizer: PreTrainedTokenizerBase, text: str, answer: str, keep_spaces: bool = False) -> Example:
    """Tokenizes ``text + answer`` as a whole; every token with a part of the answer is scored, and no end of sequence.

    Args:
        tokenizer: a tokenizer.
        text: the prompt.
        answer: its continuation, with the white space between them.
        keep_spaces: whether the spaces at the end of the prompt are a part of it, and not scored.

    Raises:
        ValueError: if no token is left to score.
    """
    alone, whole = encode_prompt(tokenizer, text, keep_spaces), tokens_of(tokenizer, text + answer)
    # A token may hold the end of the prompt and the beginning of the answer; it is the first one that differs.
    pairs = zip(alone, whole, strict=False)
    prompt_length = max(1, sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs)))
    if len(whole) <= prompt_length:
        raise ValueError(f"The completion {answer!r} has no token to score.")
    return Example(whole, prompt_length)


def encode_text(tokenizer: PreTrainedTokenizerBase, text: str, window: int) -> list[Example]:
    """Tokenizes ``text`` into windows of which every token but the first is scored.

    Each window begins with the last token of the previous one: every token but the very first is scored once.

    Args:
        tokenizer: a tokenizer.
        text: what is scored.
        window: most tokens of a window; at least 2.
    """
    ids = tokens_of(tokenizer, text)
    starts = range(0, len(ids) - 1, window - 1)
    return [Example(ids[start : start + window], prompt_length=1) for start in starts]
