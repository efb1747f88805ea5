"""Questions with the beginning of their answer."""

from dataclasses import dataclass, replace

from unlearn_pl.data import EvaluationRow, Example
from unlearn_pl.data.text.encoder import Encoder


@dataclass(frozen=True)
class Prefixed(EvaluationRow):
    """A tokenized question of which the first tokens of the answer are given; the rest is scored and generated.

    Args:
        example: the question and the whole answer.
        given: number of tokens of the answer that are given.
        rest: the text of the other tokens.
    """

    example: Example
    given: int
    rest: str

    def examples(self, encoder: Encoder, where: str) -> list[Example]:
        """The rest of the answer, as candidate 0."""
        return [replace(self.example, prompt_length=self.example.prompt_length + self.given, choice=0)]

    def content(self) -> str:
        """The tokens and the number of given ones."""
        return f"{self.example.input_ids}\n{self.given}"

    def prompt(self, encoder: Encoder) -> list[int]:
        """The question and the given tokens of the answer."""
        return self.example.input_ids[: self.example.prompt_length + self.given]

    def expected(self) -> str:
        """The rest of the answer."""
        return self.rest
