"""Few-shot attack: retain questions with answers before each forget question."""

import random
from collections.abc import Sequence

from unlearn_pl.data import EvaluationRow, Message, Row
from unlearn_pl.data.evaluation.evaluation_row import Question
from unlearn_pl.robustness.attacks.prompt_attack import PromptAttack
from unlearn_pl.robustness.questions import questions
from unlearn_pl.robustness.target import Subject


class FewShotPrompts(PromptAttack):
    """Leakage after retain questions with their answers, as earlier turns of the conversation.

    The shots of each question are drawn at random; none of them comes from the forget set.

    Args:
        shots: number of retain questions per forget question.

    Raises:
        ValueError: if ``shots`` is not positive.
    """

    def __init__(self, shots: int = 3) -> None:
        if shots < 1:
            raise ValueError(f"shots={shots}; accepted is a positive number.")
        self.shots = shots

    @property
    def name(self) -> str:
        """The attack and the number of shots."""
        return f"FewShotPrompts ({self.shots})"

    def rows(self, subject: Subject) -> Sequence[EvaluationRow]:
        """The forget questions after their shots.

        Raises:
            ValueError: if there are fewer retain questions than shots, or rows that are not questions.
        """
        shown, asked = questions(subject.retain, self.name), questions(subject.forget, self.name)
        if len(shown) < self.shots:
            raise ValueError(f"shots={self.shots}, but the retain split has {len(shown)} questions.")
        draw = random.Random(subject.seed)
        return [Question(after_shots(draw.sample(shown, self.shots), row)) for row in asked]


def after_shots(shots: Sequence[Row], row: Row) -> Row:
    """``row`` as the last turn of a conversation.

    Args:
        shots: questions with answers, the earlier turns.
        row: the question that is asked.
    """
    turns = [turn for shot in (*shots, row) for turn in _turns(shot)]
    return Row(question=turns[:-1], answer=row["answer"])


def _turns(row: Row) -> list[Message]:
    asked, answer = row["question"], row["answer"]
    before = [Message(role="user", content=asked)] if isinstance(asked, str) else list(asked)
    return [*before, Message(role="assistant", content=answer if isinstance(answer, str) else answer[0])]
