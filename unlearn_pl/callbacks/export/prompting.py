"""How a model was prompted in training, for those who load its export without this library."""

import copy
from dataclasses import dataclass
from typing import Any

from transformers import PreTrainedTokenizerBase

from unlearn_pl.data import ChatTemplate, PlainTemplate, Template
from unlearn_pl.data.text.plain_chat import PlainArguments, plain_chat_template

QUESTION = "QUESTION"
"""Stands for the question in a prompt that is shown."""
SAMPLES = (QUESTION, "Where does Maud Ferrier, of Osk, live?", "Où? 12 €")
"""Questions on which an exported chat template must agree with the template of training."""


@dataclass(frozen=True)
class Prompting:
    """The prompt format of training.

    Attributes:
        text: the prompt of the question ``QUESTION``, with its special tokens.
        tokenizer: the tokenizer to export; with a chat template that writes this prompt, if there can be one.
        messages: the messages that ``apply_chat_template`` turns into the prompt; None if no chat template does.
        arguments: further arguments of ``apply_chat_template``.
    """

    text: str
    tokenizer: PreTrainedTokenizerBase
    messages: list[dict[str, str]] | None
    arguments: dict[str, Any]


def prompting_of(tokenizer: PreTrainedTokenizerBase, template: Template) -> Prompting | None:
    """The prompt format of a tokenizer and a template; None if they cannot lay out a question.

    Args:
        tokenizer: that of training; it is not modified.
        template: that of training.
    """
    try:
        text = str(tokenizer.decode(template.prompt(tokenizer, QUESTION)))
    except Exception:  # a tokenizer of a few words, for data that is no language
        return None
    exported = _with_chat_template(tokenizer, template) if not tokenizer.chat_template else tokenizer
    arguments: dict[str, Any] = {}
    messages = [{"role": "user", "content": QUESTION}]
    if isinstance(template, ChatTemplate):
        arguments = dict(template.arguments)
        if template.system is not None:
            messages.insert(0, {"role": "system", "content": template.system})
    candidates = (messages, messages[-1:])  # some chat templates have no system role
    found = next((each for each in candidates if _writes(exported, template, each, arguments)), None)
    return Prompting(text, exported, found, arguments)


def _with_chat_template(tokenizer: PreTrainedTokenizerBase, template: Template) -> PreTrainedTokenizerBase:
    """A copy that writes the prompts of ``template`` by its own chat template; ``tokenizer`` itself if it cannot."""
    if type(template) is not PlainTemplate:
        return tokenizer
    first = template.prompt(tokenizer, QUESTION)[:1]
    begins = tokenizer.bos_token_id is not None and first == [tokenizer.bos_token_id]
    arguments = PlainArguments(question=template.question, answer=template.answer)
    chatty = copy.deepcopy(tokenizer)
    chatty.chat_template = plain_chat_template(arguments, str(tokenizer.bos_token) if begins else "")
    return chatty if _writes(chatty, template, [{"role": "user", "content": QUESTION}], {}) else tokenizer


def _writes(
    tokenizer: PreTrainedTokenizerBase,
    template: Template,
    messages: list[dict[str, str]],
    arguments: dict[str, Any],
) -> bool:
    """Whether the tokenizer's chat template gives the very tokens of ``template``."""
    if not tokenizer.chat_template:
        return False
    try:
        return all(
            list(
                tokenizer.apply_chat_template(
                    [*messages[:-1], {"role": "user", "content": question}],
                    add_generation_prompt=True,
                    return_dict=False,
                    **arguments,
                )
            )
            == template.prompt(tokenizer, question)
            for question in SAMPLES
        )
    except Exception:  # chat templates are programs of other people, which may raise anything
        return False
