"""Base class of prompt attacks (no weight changes)."""

from abc import abstractmethod
from collections.abc import Sequence

from unlearn_pl.data import EvaluationRow
from unlearn_pl.robustness.attacks.attack import Attack, Findings
from unlearn_pl.robustness.target import FORGET, Subject


class PromptAttack(Attack):
    """Leakage of the forget split under other prompts."""

    @abstractmethod
    def rows(self, subject: Subject) -> Sequence[EvaluationRow]:
        """The prompts, one row per forget row.

        Raises:
            ValueError: if the rows cannot be made.
        """

    def check(self, subject: Subject) -> None:
        """Check that the rows can be made, and that the model can read them."""
        subject.check_lengths(self.rows(subject), self.name)

    def run(self, subject: Subject) -> Findings:
        """Evaluate the model on the rows."""
        rows = {FORGET: subject.limited(self.rows(subject))}
        return Findings.scored(subject.score(subject.pretrained(), rows))
