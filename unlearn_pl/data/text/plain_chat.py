"""Chat templates that lay out plain text, so that exported models can be asked with messages."""

import json
import re
from typing import TypedDict

_MARK = re.compile(r"\{#- unlearn_pl PlainTemplate (\{.*?\}) -#\}")


class PlainArguments(TypedDict):
    """Arguments of a :class:`~unlearn_pl.data.PlainTemplate`."""

    question: str
    answer: str


def plain_chat_template(arguments: PlainArguments, bos: str = "") -> str:
    """A Jinja template with the layout of :class:`~unlearn_pl.data.PlainTemplate`.

    Args:
        arguments: texts before the question, and between question and answer.
        bos: token that the tokenizer adds at the beginning.
    """
    before, between = json.dumps(arguments["question"]), json.dumps(arguments["answer"])
    return (
        f"{{#- unlearn_pl PlainTemplate {json.dumps(arguments)} -#}}"
        f"{{{{- {json.dumps(bos)} -}}}}"
        "{%- for message in messages -%}"
        "{%- if message['role'] == 'user' -%}"
        f"{{%- set text = {before} + message['content'] + {between} -%}}"
        "{%- else -%}"
        "{%- set ends = loop.last and message['role'] == 'assistant' -%}"
        "{%- set text = message['content'] + (eos_token if ends else '\\n\\n') -%}"
        "{%- endif -%}"
        "{{- text.rstrip(' ') if loop.last else text -}}"
        "{%- endfor -%}"
    )


def marked_arguments(chat_template: str) -> PlainArguments | None:
    """The arguments that :func:`plain_chat_template` was given; None for any other chat template.

    Args:
        chat_template: a Jinja template.
    """
    found = _MARK.search(chat_template)
    if found is None:
        return None
    arguments = json.loads(found[1])
    return PlainArguments(question=arguments["question"], answer=arguments["answer"])
