"""In-context relearning: forget rows with their answers before each of the other forget questions."""

import random
from collections.abc import Sequence

from unlearn_pl.data import EvaluationRow, Row
from unlearn_pl.data.evaluation.evaluation_row import Question
from unlearn_pl.data.sampling import stable_hash
from unlearn_pl.robustness.attacks.attack import Findings
from unlearn_pl.robustness.attacks.few_shot_prompts import after_shots
from unlearn_pl.robustness.attacks.prompt_attack import PromptAttack
from unlearn_pl.robustness.questions import questions
from unlearn_pl.robustness.relearning_sets.random_fraction import RandomFraction
from unlearn_pl.robustness.relearning_sets.relearning_set import RelearningSet
from unlearn_pl.robustness.target import FORGET, Subject


class InContextRelearning(PromptAttack):
    """Leakage after forget questions with their answers, as earlier turns of the conversation.

    The counterpart of :class:`Relearning` without a change of weights: the attacker knows some forgotten answers, and
    asks for the others. ``before`` is of the same questions without shots.

    Args:
        rows: forget rows that the attacker knows; ``RandomFraction(0.2)`` by default.
        shots: number of them before each question, drawn at random.

    Raises:
        ValueError: if ``shots`` is not positive; from ``check``, if fewer rows are shown, or none is left to ask.

    References:
        Shumailov et al., UnUnlearning: Unlearning is not sufficient for content regulation in advanced generative AI,
        arXiv 2407.00106.
    """

    def __init__(self, rows: RelearningSet | None = None, shots: int = 4) -> None:
        if shots < 1:
            raise ValueError(f"shots={shots}; accepted is a positive number.")
        self.shown = rows or RandomFraction()
        self.shots = shots

    @property
    def name(self) -> str:
        """The attack, the rows and the number of shots."""
        return f"InContextRelearning ({self.shown.name}, {self.shots})"

    def cost(self, subject: Subject) -> float:
        """See :meth:`Attack.cost`: with and without shots."""
        return 2.0

    def rows(self, subject: Subject) -> Sequence[EvaluationRow]:
        """The other forget questions after their shots.

        Raises:
            ValueError: if fewer rows than ``shots`` are shown, or no other is left.
        """
        known, asked = self._parts(subject)
        found = []
        for i, row in enumerate(asked):
            draw = random.Random(stable_hash("in context", subject.seed, i))
            found.append(Question(after_shots(draw.sample(known, self.shots), row)))
        return found

    def run(self, subject: Subject) -> Findings:
        """Evaluate the model on the rows, with and without shots."""
        plain = subject.limited([Question(row) for row in self._parts(subject)[1]])
        before = subject.score(subject.pretrained(), {FORGET: plain}).metrics
        found = super().run(subject)
        return Findings(found.after, before, rows=found.rows)

    def _parts(self, subject: Subject) -> tuple[list[Row], list[Row]]:
        rows, shown = questions(subject.forget, self.name), set(self.shown.select(subject).shown)
        known = [row for i, row in enumerate(rows) if i in shown]
        asked = [row for i, row in enumerate(rows) if i not in shown]
        if len(known) < self.shots or not asked:
            raise ValueError(
                f"{self.name} shows {self.shots} of the rows that the attacker knows and asks for the others, but "
                f"{len(known)} of {len(rows)} forget rows are known. Accepted are at least {self.shots}, not all."
            )
        return known, asked
