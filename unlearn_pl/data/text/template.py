"""Templates: the layout of a question and an answer, their tokens, and the scored positions."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypedDict

from transformers import PreTrainedTokenizerBase

from unlearn_pl.recording import Recorded
from unlearn_pl.types import IGNORE_INDEX


@dataclass(frozen=True)
class Example:
    """A tokenized question and answer, or a text.

    Attributes:
        input_ids: the whole sequence; an answer that a template laid out ends with the end-of-sequence token.
        prompt_length: number of tokens before the first scored one.
        index: position of the example in its dataset.
        choice: which candidate answer, or which window of a text, it holds (evaluation splits only).
        target: which candidate is the correct one (multiple choice only).
    """

    input_ids: list[int]
    prompt_length: int
    index: int = 0
    choice: int | None = None
    target: int | None = None

    @property
    def labels(self) -> list[int]:
        """``input_ids`` where scored, ``IGNORE_INDEX`` on the prompt."""
        return [IGNORE_INDEX] * self.prompt_length + self.input_ids[self.prompt_length :]

    def __len__(self) -> int:
        return len(self.input_ids)


class Message(TypedDict):
    """A turn of a conversation.

    Attributes:
        role: ``system``, ``user`` or ``assistant``.
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
            their own).
        date: date that templates such as Llama 3's print into the system message, fixed so that results do not
            depend on the day.

    Raises:
        ValueError: if it is used with a tokenizer that has no chat template.
    """

    def __init__(self, system: str | None = "You are a helpful assistant.", date: str = "10 Apr 2025") -> None:
        self.system = system
        self.date = date

    def prompt(self, tokenizer: PreTrainedTokenizerBase, question: Asked) -> list[int]:
        """The template of the messages before the answer, with the header of the answer."""
        return self._apply(tokenizer, self._messages(question), add_generation_prompt=True)

    def conversation(self, tokenizer: PreTrainedTokenizerBase, question: Asked, answer: str) -> list[int]:
        """The template of all messages."""
        messages = [*self._messages(question), Message(role="assistant", content=answer)]
        return self._apply(tokenizer, messages, add_generation_prompt=False)

    def _messages(self, question: Asked) -> list[Message]:
        turns = _turns(question)
        if self.system is None or turns[0]["role"] == "system":
            return turns
        return [Message(role="system", content=self.system), *turns]

    def _apply(
        self, tokenizer: PreTrainedTokenizerBase, messages: list[Message], add_generation_prompt: bool
    ) -> list[int]:
        if not tokenizer.chat_template:
            raise ValueError(
                "The tokenizer has no chat template, which ChatTemplate needs. Set tokenizer.chat_template, or use "
                "PlainTemplate, the default for such tokenizers."
            )
        ids = tokenizer.apply_chat_template(
            [{"role": message["role"], "content": message["content"]} for message in messages],
            add_generation_prompt=add_generation_prompt,
            date_string=self.date,
            return_dict=False,
        )
        return list(ids)


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
    """:class:`ChatTemplate` if ``tokenizer`` has a chat template, else :class:`PlainTemplate`."""
    return ChatTemplate() if tokenizer.chat_template else PlainTemplate()


def tokens_of(tokenizer: PreTrainedTokenizerBase, text: str) -> list[int]:
    """Token ids of ``text``, of any length, without the end-of-sequence token that some tokenizers add."""
    ids = list(tokenizer(text, verbose=False)["input_ids"])  # texts longer than the model's window are cut later
    return ids[:-1] if ids and ids[-1] == tokenizer.eos_token_id else ids


def encode(tokenizer: PreTrainedTokenizerBase, template: Template, question: Asked, answer: str) -> Example:
    """Tokenizes a question and an answer; everything after the prompt is scored, the final eos included.

    Args:
        tokenizer: a tokenizer with an end-of-sequence token.
        template: lays out question and answer.
        question: what is asked, or the turns before the answer.
        answer: what is scored.

    Raises:
        ValueError: if the tokenizer has no end-of-sequence token, or the tokens of the whole do not begin with the
            tokens of the prompt.
    """
    prompt = template.prompt(tokenizer, question)
    ids = template.conversation(tokenizer, question, answer)
    if ids[: len(prompt)] != prompt:
        raise ValueError(
            f"{type(template).__name__}: the tokens of question and answer do not begin with the tokens of the prompt "
            f"{tokenizer.decode(prompt)!r}, so it is not known where the answer begins. "
            "A template that ends its prompt with a space or a special token avoids this."
        )
    return Example(prompt + _end_with_eos(tokenizer, ids[len(prompt) :]), len(prompt))


def _end_with_eos(tokenizer: PreTrainedTokenizerBase, answer: list[int]) -> list[int]:
    eos = tokenizer.eos_token_id
    if eos is None:
        raise ValueError("The tokenizer has no end-of-sequence token; set tokenizer.eos_token.")
    # Some chat templates write a line break after the end of a turn, which a model never generates.
    end = len(answer)
    while end and answer[end - 1] != eos and not str(tokenizer.decode([answer[end - 1]])).strip():
        end -= 1
    return answer[:end] if end and answer[end - 1] == eos else [*answer, eos]


def _turns(question: Asked) -> list[Message]:
    return [Message(role="user", content=question)] if isinstance(question, str) else list(question)
