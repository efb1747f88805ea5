"""Templates: the layout of a question and an answer, their tokens, and the scored positions."""

import inspect
import re
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypedDict, cast

from jinja2.exceptions import TemplateError
from lightning.pytorch.utilities import rank_zero_info
from transformers import PreTrainedTokenizerBase

from unlearn_pl.data.text.dates import variables, with_fixed_clock
from unlearn_pl.data.text.plain_chat import marked_arguments
from unlearn_pl.data.text.scored import (
    PROBES,
    Layout,
    begins_thoughts,
    empty_thoughts,
    header_of,
    is_written,
    shared_length,
    up_to_end_of_turn,
)
from unlearn_pl.models.markers import is_marker
from unlearn_pl.recording import Recorded
from unlearn_pl.types import IGNORE_INDEX


@dataclass(frozen=True)
class Example:
    """A tokenized question and answer, or a text.

    Attributes:
        input_ids: the whole sequence; an answer that a template laid out ends with the end of its turn.
        prompt_length: number of tokens before the first scored one.
        index: position of the example in its dataset.
        choice: which candidate answer, or which window of a text, it holds (evaluation splits only).
        target: which candidate is the correct one (multiple choice only).
        weights: weight of every scored token in means over tokens; None if all are 1.
    """

    input_ids: list[int]
    prompt_length: int
    index: int = 0
    choice: int | None = None
    target: int | None = None
    weights: list[float] | None = None

    @property
    def labels(self) -> list[int]:
        """``input_ids`` where scored, ``IGNORE_INDEX`` on the prompt."""
        return [IGNORE_INDEX] * self.prompt_length + self.input_ids[self.prompt_length :]

    def __len__(self) -> int:
        return len(self.input_ids)


class Message(TypedDict):
    """A turn of a conversation.

    Attributes:
        role: ``system``, ``user`` or ``assistant``; of some templates also ``developer`` or ``tool``.
        content: what is said.
    """

    role: str
    content: str


Asked = str | Sequence[Message]
"""A question, or all turns of a conversation before the answer."""


class Template(Recorded, ABC):
    """Base class of templates: the layout of a question and an answer for a model."""

    @abstractmethod
    def prompt(self, tokenizer: PreTrainedTokenizerBase, question: Asked) -> list[int]:
        """Token ids of everything before the answer."""

    @abstractmethod
    def conversation(self, tokenizer: PreTrainedTokenizerBase, question: Asked, answer: str) -> list[int]:
        """Token ids of the prompt and the answer; they begin with those of :meth:`prompt`."""


class ChatTemplate(Template):
    """The tokenizer's own chat template.

    Args:
        system: system message, also for conversations without one; None for no message (some templates then write
            their own). Templates without a system role, such as Gemma 2's, do without it.
        date: today's date for templates that print it, such as Llama 3's, fixed so that results do not depend on the
            day. It reaches the function ``strftime_now``, in the template's own format, and the variables
            ``date_string``, ``date``, ``today``, ``today_date``, ``current_date`` and ``datetime``.
        arguments: variables of the template, such as ``{"enable_thinking": False}``.

    Raises:
        ValueError: if an argument is not a variable of templates; if it is used with a tokenizer that has no chat
            template, or one that cannot lay out the messages.
    """

    def __init__(
        self,
        system: str | None = "You are a helpful assistant.",
        date: str = "10 Apr 2025",
        arguments: dict[str, Any] | None = None,
    ) -> None:
        self.system = system
        self.date = date
        self.arguments = dict(arguments or {})
        self._takes_system: dict[str, bool] = {}  # of every chat template that was met
        self._has_header: dict[str, bool] = {}
        options = inspect.signature(PreTrainedTokenizerBase.apply_chat_template).parameters
        if taken := sorted(self.arguments.keys() & options.keys() - {"tools", "documents"}):
            raise ValueError(
                f"ChatTemplate(arguments=...) has {taken}; accepted are variables that chat templates read, such as "
                "enable_thinking."
            )

    def prompt(self, tokenizer: PreTrainedTokenizerBase, question: Asked) -> list[int]:
        """The template of the messages before the answer, with the header of the answer.

        It is followed by the channel that the template writes before every answer, such as gpt-oss's final one.
        """
        ids = self._apply(tokenizer, self._messages(tokenizer, question), add_generation_prompt=True)
        return ids + self._header(tokenizer, question, ids)

    def conversation(self, tokenizer: PreTrainedTokenizerBase, question: Asked, answer: str) -> list[int]:
        """The template of all messages."""
        messages = [*self._messages(tokenizer, question), Message(role="assistant", content=answer)]
        return self._apply(tokenizer, messages, add_generation_prompt=False)

    def _header(self, tokenizer: PreTrainedTokenizerBase, question: Asked, prompt: list[int]) -> list[int]:
        """Token ids of a header of every answer that the prompt lacks; whether there is one is asked once."""
        text = self._text(tokenizer)
        if not self._has_header.get(text, True):
            return []
        layout = partial(self.conversation, tokenizer, question)
        try:
            start = shared_length(prompt, layout(PROBES[0]))
        except ValueError:
            return []  # it has no layout for an answer here, so that none can be scored either
        begun = begins_thoughts(tokenizer, prompt, start)
        header = header_of(layout, start) if start == len(prompt) and not begun else []
        if not header or not is_marker(tokenizer, header[0]) or empty_thoughts(tokenizer, [*header, header[0]]):
            header = []
        if begun and text not in self._has_header:
            rank_zero_info(
                f"The chat template of {_name(tokenizer)} begins thoughts in the prompt and writes none before an "
                "answer: answers are scored without thoughts, and generated ones have them."
            )
        self._has_header.setdefault(text, bool(header))
        return header

    def _messages(self, tokenizer: PreTrainedTokenizerBase, question: Asked) -> list[Message]:
        turns = _turns(question)
        if self.system is None or turns[0]["role"] in ("system", "developer"):
            return turns
        system = Message(role="system", content=self.system)
        return [system, *turns] if self._has_system_role(tokenizer, system) else turns

    def _has_system_role(self, tokenizer: PreTrainedTokenizerBase, system: Message) -> bool:
        """Whether the chat template lays out a system message: asked once, so that it is the same for every row."""
        text = self._text(tokenizer)
        if text not in self._takes_system:
            user = Message(role="user", content="?")
            alone, both = (self._lays_out(tokenizer, messages) for messages in ([user], [system, user]))
            self._takes_system[text] = both or not alone
            if alone and not both:
                rank_zero_info(
                    f"The chat template of {_name(tokenizer)} has no system role: the system message "
                    f"{system['content']!r} is left out."
                )
        return self._takes_system[text]

    def _lays_out(self, tokenizer: PreTrainedTokenizerBase, messages: list[Message]) -> bool:
        try:
            self._apply(tokenizer, messages, add_generation_prompt=True)
        except ValueError:
            return False
        return True

    def _apply(
        self, tokenizer: PreTrainedTokenizerBase, messages: list[Message], add_generation_prompt: bool
    ) -> list[int]:
        text = self._text(tokenizer)
        try:
            ids = tokenizer.apply_chat_template(
                [{"role": message["role"], "content": message["content"]} for message in messages],
                chat_template=with_fixed_clock(text, self.date),
                add_generation_prompt=add_generation_prompt,
                return_dict=False,
                **{**variables(self.date), **self.arguments},
            )
        except TemplateError as error:
            raise ValueError(
                f"The chat template of {_name(tokenizer)} cannot lay out messages of the roles "
                f"{[message['role'] for message in messages]}: {error}.{_hint(str(error))}"
            ) from error
        tokens = cast(list[int], list(ids))
        _check_roles(tokenizer, messages, tokens)
        return tokens

    def _text(self, tokenizer: PreTrainedTokenizerBase) -> str:
        if not tokenizer.chat_template:
            raise ValueError(
                "The tokenizer has no chat template, which ChatTemplate needs. Set tokenizer.chat_template, or use "
                "PlainTemplate, the default for such tokenizers."
            )
        return str(tokenizer.get_chat_template(tools=self.arguments.get("tools")))


def _name(tokenizer: PreTrainedTokenizerBase) -> str:
    return repr(tokenizer.name_or_path) if tokenizer.name_or_path else "the tokenizer"


def _check_roles(tokenizer: PreTrainedTokenizerBase, messages: Sequence[Message], ids: list[int]) -> None:
    """Check that turns of roles which many templates do not have, and pass over in silence, are written.

    Raises:
        ValueError: naming the role.
    """
    rare = [message for message in messages if message["role"] in ("developer", "tool")]
    text = "".join(str(tokenizer.decode(ids)).split()) if rare else ""
    for message in rare:
        if "".join(message["content"].split()) not in text:
            other = "system" if message["role"] == "developer" else "user"
            raise ValueError(
                f"The chat template of {_name(tokenizer)} writes nothing of a turn of the role {message['role']!r}. "
                f"Give the turn a role that it has, such as {other!r}, or use another tokenizer.chat_template."
            )


def _hint(error: str) -> str:
    """What to do about a special token that the template writes and the tokenizer does not have."""
    missing = re.search(r"'(\w+_token)' is undefined", error)
    return f" Set tokenizer.{missing[1]}." if missing else ""


class PlainTemplate(Template):
    """Plain text around question and answer, for models without a chat template.

    A space at the end of ``answer`` is tokenized with the answer, because tokenizers attach spaces to the word that
    follows them. Earlier turns of a conversation are also questions and answers, with empty lines between them.

    Args:
        question: text before the question.
        answer: text between question and answer.
    """

    def __init__(self, question: str = "Question: ", answer: str = "\nAnswer: ") -> None:
        self.question = question
        self.answer = answer

    def prompt(self, tokenizer: PreTrainedTokenizerBase, question: Asked) -> list[int]:
        """The text up to the answer, without the end-of-sequence token that some tokenizers add."""
        return tokens_of(tokenizer, self._text(question).rstrip(" "))

    def conversation(self, tokenizer: PreTrainedTokenizerBase, question: Asked, answer: str) -> list[int]:
        """The text with the answer."""
        return list(tokenizer(self._text(question) + answer)["input_ids"])

    def _text(self, question: Asked) -> str:
        around = {"user": (self.question, self.answer)}
        turns = [(turn["content"], *around.get(turn["role"], ("", "\n\n"))) for turn in _turns(question)]
        return "".join(before + content + after for content, before, after in turns)


def default_template(tokenizer: PreTrainedTokenizerBase) -> Template:
    """:class:`ChatTemplate` if ``tokenizer`` has a chat template, else :class:`PlainTemplate`.

    The chat template that :class:`~unlearn_pl.callbacks.SavePretrained` writes for models without one is the
    PlainTemplate again, token by token.
    """
    if not tokenizer.chat_template:
        return PlainTemplate()
    plain = marked_arguments(tokenizer.chat_template) if isinstance(tokenizer.chat_template, str) else None
    return ChatTemplate() if plain is None else PlainTemplate(**plain)


def tokens_of(tokenizer: PreTrainedTokenizerBase, text: str) -> list[int]:
    """Token ids of ``text``, of any length, without the end-of-sequence token that some tokenizers add."""
    ids = list(tokenizer(text, verbose=False)["input_ids"])  # texts longer than the model's window are cut later
    return ids[:-1] if ids and ids[-1] == tokenizer.eos_token_id else ids


def encode(tokenizer: PreTrainedTokenizerBase, template: Template, question: Asked, answer: str) -> Example:
    """Tokenizes a question and an answer; the answer is scored, up to the token that ends the turn.

    Nothing is scored after the end of the turn. Where no token of the template ends it, the end-of-sequence token does.
    What the template writes before every answer, such as an empty block of thoughts, is a part of the prompt; thoughts
    that only a prompt without an answer begins are left out.

    Args:
        tokenizer: a tokenizer with an end-of-sequence token.
        template: lays out question and answer.
        question: what is asked, or the turns before the answer.
        answer: what is scored.

    Raises:
        ValueError: if the tokenizer has no end-of-sequence token, the tokens of the whole do not begin with the
            tokens of the prompt, or the template writes nothing of the answer.
    """
    prompt = template.prompt(tokenizer, question)
    layout = partial(template.conversation, tokenizer, question)
    ids = layout(answer)
    if tokenizer.eos_token_id is None:
        raise ValueError("The tokenizer has no end-of-sequence token; set tokenizer.eos_token.")
    start = shared_length(prompt, ids)
    begun = begins_thoughts(tokenizer, prompt, start)
    if start < len(prompt) and not begun:
        raise ValueError(
            f"{type(template).__name__}: the tokens of question and answer do not begin with the tokens of the prompt "
            f"{tokenizer.decode(prompt)!r}, so it is not known where the answer begins. "
            "A template that ends its prompt with a space or a special token avoids this; one that begins thoughts "
            "in the prompt needs a variable that turns them off, such as "
            "ChatTemplate(arguments={'enable_thinking': False}), or another tokenizer.chat_template."
        )
    scored = up_to_end_of_turn(tokenizer, ids[start:], layout)
    before = _before_answer(tokenizer, scored, layout, start, begun)
    if not is_written(tokenizer, scored[before:], answer) and ids == _unanswered(tokenizer, template, question):
        raise ValueError(
            f"{type(template).__name__}: nothing of the answer {answer!r} is scored with the template of "
            f"{_name(tokenizer)}, only the end {tokenizer.decode(scored)!r}. A chat template that reads contents as "
            "lists of parts does this, and so does an answer of thoughts alone; use another tokenizer.chat_template "
            "or template."
        )
    return Example(ids[:start] + scored, start + before)


def _before_answer(
    tokenizer: PreTrainedTokenizerBase, scored: list[int], layout: Layout, start: int, begun: bool
) -> int:
    """Number of tokens of ``scored`` that the template writes before the answer: a channel, or empty thoughts."""
    if begun or (scored and is_marker(tokenizer, scored[0])):
        header = header_of(layout, start)
        if scored[: len(header)] == header and len(header) < len(scored):
            return len(header)
    return empty_thoughts(tokenizer, scored)


def _unanswered(tokenizer: PreTrainedTokenizerBase, template: Template, question: Asked) -> list[int] | None:
    """Token ids of the conversation with an empty answer; None if the template has no layout for it."""
    try:
        return template.conversation(tokenizer, question, "")
    except ValueError:
        return None


def _turns(question: Asked) -> list[Message]:
    return [Message(role="user", content=question)] if isinstance(question, str) else list(question)
