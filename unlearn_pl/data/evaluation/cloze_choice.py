"""Questions with options of which each is scored as a text, not by its letter."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from unlearn_pl.data.evaluation.evaluation_row import EvaluationRow
from unlearn_pl.data.evaluation.multiple_choice import MultipleChoice
from unlearn_pl.data.text.encoder import Encoder
from unlearn_pl.data.text.template import Example


@dataclass(frozen=True)
class ClozeChoice(EvaluationRow):
    """A prompt with possible continuations, which are the candidates, numbered from 0; no template.

    The model is not shown the options, so that it cannot choose among them by elimination.

    Args:
        text: the prompt.
        choices: the continuations, without the space before them.
        answer: number of the correct one, from 0.
        by_length: whether log-probabilities are divided by the number of characters of a continuation (``acc_norm`` of
            lm-eval).

    Raises:
        ValueError: if the prompt or a continuation is empty, or ``answer`` is not the number of a continuation.
    """

    text: str
    choices: Sequence[str]
    answer: int
    by_length: bool = True

    def __post_init__(self) -> None:
        if not self.text.strip() or not all(str(choice).strip() for choice in self.choices):
            raise ValueError(f"A cloze question or one of its options is empty: {self.text[:60]!r}.")
        if len(self.choices) < 2 or self.answer not in range(len(self.choices)):
            raise ValueError(
                f"answer={self.answer!r} with {len(self.choices)} choices; accepted are at least 2 choices, and the "
                f"number of one of them, from 0: {self.text[:60]!r}."
            )

    @classmethod
    def of(cls, question: MultipleChoice) -> "ClozeChoice":
        """A multiple-choice question without its letters, in the layout of Deep Ignorance's cloze task."""
        about = f"Complete the following {question.subject} questions with the correct answer.\n\n"
        text = f"{about if question.subject else ''}Question: {question.question.strip()}\nAnswer:"
        return cls(text, list(question.choices), question.answer)

    def examples(self, encoder: Encoder, where: str) -> list[Example]:
        """An example per continuation, with the number of the correct one as ``target``."""
        return [
            replace(encoder.completion(self.text, f" {option}", where), choice=choice, target=self.answer)
            for choice, option in enumerate(self.choices)
        ]

    def content(self) -> str:
        """The prompt with its continuations and the correct one."""
        return "\n".join([self.text, *self.choices, self.choices[self.answer]])

    def expected(self) -> str:
        """The correct continuation."""
        return self.choices[self.answer]

    def asked(self) -> str:
        """The prompt."""
        return self.text

    @property
    def lengths(self) -> list[int]:
        """What the log-probability of each continuation is divided by."""
        return [len(choice) if self.by_length else 1 for choice in self.choices]
