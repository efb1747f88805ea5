"""Tokens that mark the parts of a text, such as the end of a turn."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from transformers import GenerationConfig, PreTrainedTokenizerBase


def is_marker(tokenizer: "PreTrainedTokenizerBase", token: int) -> bool:
    """Whether ``token`` was added to the vocabulary beside what texts are made of, and is not white space."""
    added = tokenizer.added_tokens_decoder.get(token)
    return bool(str(added).strip()) if added is not None else token in tokenizer.all_special_ids


def end_of_turn(tokenizer: "PreTrainedTokenizerBase") -> int | None:
    """The token with which the chat template ends an answer; None without one.

    Gemma, Phi-3 and the base models of Qwen have one that is not the end-of-sequence token.
    """
    from jinja2.exceptions import TemplateError

    if not tokenizer.chat_template:
        return None
    layouts = []
    for answer in ("A", "B"):
        messages = [{"role": "user", "content": "?"}, {"role": "assistant", "content": answer}]
        try:
            layouts.append(list(tokenizer.apply_chat_template(messages, return_dict=False)))
        except (TemplateError, TypeError, ValueError):
            return None  # it needs variables, or other messages
    first, second = layouts
    length = next((n for n in range(1, len(first)) if first[-n:] != second[-n:]), 1) - 1
    return next((token for token in first[len(first) - length :] if is_marker(tokenizer, token)), None)


def ending_tokens(config: "GenerationConfig", tokenizer: "PreTrainedTokenizerBase") -> list[int]:
    """The tokens that end a continuation: those of the model, the end of the sequence, and that of a turn."""
    ends = config.eos_token_id  # None, an id, or several: chat models end a turn and a text
    own = set(ends) if isinstance(ends, list) else {ends}
    return sorted((own | {tokenizer.eos_token_id, end_of_turn(tokenizer)}) - {None})
