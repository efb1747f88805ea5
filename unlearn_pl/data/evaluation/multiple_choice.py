"""Multiple-choice questions, answered by the letter of an option."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from unlearn_pl.data.evaluation.evaluation_row import EvaluationRow
from unlearn_pl.data.text.encoder import Encoder
from unlearn_pl.data.text.template import Example

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


@dataclass(frozen=True)
class MultipleChoice(EvaluationRow):
    """A question with its options; the candidates are the letters `` A``, `` B``, ..., numbered from 0.

    Laid out and scored as the zero-shot tasks ``wmdp`` and ``mmlu`` of lm-eval: a line with the subject, the question,
    an option a line, ``Answer:``; no template, and the letter is all that is scored.

    Args:
        question: what is asked.
        choices: the options.
        answer: number of the correct option, from 0.
        subject: subject of the question; empty for no first line.

    Raises:
        ValueError: if the question or an option is empty, or ``answer`` is not the number of an option.
    """

    question: str
    choices: Sequence[str]
    answer: int
    subject: str = ""

    def __post_init__(self) -> None:
        if not self.question.strip() or not all(str(choice).strip() for choice in self.choices):
            raise ValueError(f"A multiple-choice question or one of its options is empty: {self.question[:60]!r}.")
        if not 2 <= len(self.choices) <= len(LETTERS) or self.answer not in range(len(self.choices)):
            raise ValueError(
                f"answer={self.answer!r} with {len(self.choices)} choices; accepted are 2 to {len(LETTERS)} choices, "
                f"and the number of one of them, from 0: {self.question[:60]!r}."
            )

    def examples(self, encoder: Encoder, where: str) -> list[Example]:
        """An example per letter, with the number of the correct one as ``target``."""
        return [
            replace(encoder.completion(self.laid_out(), f" {letter}", where), choice=choice, target=self.answer)
            for choice, letter in enumerate(LETTERS[: len(self.choices)])
        ]

    def content(self) -> str:
        """The question with its options and the correct letter."""
        return f"{self.laid_out()} {LETTERS[self.answer]}"

    def laid_out(self) -> str:
        """The text up to the letter."""
        about = f"The following are multiple choice questions (with answers) about {self.subject}.\n\n"
        options = "".join(f"{letter}. {choice}\n" for letter, choice in zip(LETTERS, self.choices, strict=False))
        return f"{about if self.subject else ''}{self.question.strip()}\n{options}Answer:"
