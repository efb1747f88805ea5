"""Base class of attacks that ask about the person or thing in a question."""

from abc import abstractmethod
from collections.abc import Sequence

from unlearn_pl.data import EvaluationRow, Row
from unlearn_pl.data.evaluation.evaluation_row import Question
from unlearn_pl.robustness.attacks.attack import Findings
from unlearn_pl.robustness.attacks.prompt_attack import PromptAttack
from unlearn_pl.robustness.attacks.prompts.entities import entities
from unlearn_pl.robustness.questions import questions
from unlearn_pl.robustness.target import FORGET, Subject


class EntityAttack(PromptAttack):
    """Leakage under questions that a rule makes of the names in the forget rows; others are skipped.

    ``forget_rows`` is the number of questions that are asked. The rule knows capital letters, and no language: read
    some of the questions before you trust the numbers.
    """

    @abstractmethod
    def rewritten(self, rows: Sequence[Row], names: Sequence[str | None], seed: int) -> list[Row]:
        """The questions that are asked.

        Args:
            rows: the forget rows.
            names: the name in each; None for none.
            seed: of the audit.
        """

    def rows(self, subject: Subject) -> Sequence[EvaluationRow]:
        """The rewritten questions.

        Raises:
            ValueError: if no row can be rewritten.
        """
        rows = questions(subject.forget, self.name)
        names = entities(rows)
        found = self.rewritten(rows, names, subject.seed)
        if not found:
            raise ValueError(
                f"{self.name} can rewrite none of the {len(rows)} rows of the split {subject.forget_split!r}: "
                f"{sum(name is not None for name in names)} of the questions have a name with a capital letter, and no "
                "answer says enough beside it."
            )
        return [Question(row) for row in found]

    def run(self, subject: Subject) -> Findings:
        """Evaluate the model on the rows."""
        found = super().run(subject)
        count = float(len(subject.limited(self.rows(subject))))
        return Findings({**found.after, f"{FORGET}_rows": count}, rows=found.rows)
