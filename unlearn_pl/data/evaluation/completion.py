"""Prompt-continuation rows, used verbatim, without a template."""

from dataclasses import dataclass

from unlearn_pl.data.evaluation.evaluation_row import EvaluationRow
from unlearn_pl.data.text.encoder import Encoder
from unlearn_pl.data.text.template import Example


@dataclass(frozen=True)
class Completion(EvaluationRow):
    """A prompt and its correct continuation, used verbatim: no template, and no end-of-sequence token.

    Args:
        text: the prompt; spaces at its end are tokenized with the answer.
        answer: the continuation, with the white space that separates it from the prompt.
        keep_spaces: keep spaces at the end of the prompt in it instead.
    """

    text: str
    answer: str
    keep_spaces: bool = False

    @classmethod
    def joined(cls, prompt: str, answer: str, keep_spaces: bool = False) -> "Completion":
        """A prompt and an answer, joined by a space unless there is white space between them."""
        separated = prompt[-1].isspace() or answer[0].isspace()
        return cls(prompt, answer if separated else f" {answer}", keep_spaces)

    def examples(self, encoder: Encoder, where: str) -> list[Example]:
        """The answer after the prompt, as candidate 0."""
        return [encoder.completion(self.text, self.answer, where, self.keep_spaces)]

    def content(self) -> str:
        """The prompt and the answer."""
        return f"{self.text}\n{self.answer}"

    def prompt(self, encoder: Encoder) -> list[int]:
        """The prompt."""
        return encoder.completion_prompt(self.text, self.answer, self.keep_spaces)

    def expected(self) -> str:
        """The answer, without the white space around it."""
        return self.answer.strip()

    def asked(self) -> str:
        """The prompt."""
        return self.text
