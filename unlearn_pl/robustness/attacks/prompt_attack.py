"""Attacks that ask in another way and leave the weights alone."""

from abc import abstractmethod
from collections.abc import Sequence

from unlearn_pl.data import EvaluationRow
from unlearn_pl.robustness.attacks.attack import Attack, Findings
from unlearn_pl.robustness.target import FORGET, Subject


class PromptAttack(Attack):
    """Leakage of the forget split under other prompts."""

    @abstractmethod
    def rows(self, subject: Subject) -> Sequence[EvaluationRow]:
        """What the model is asked, one row per forget row.

        Raises:
            ValueError: if the rows cannot be made.
        """

    def check(self, subject: Subject) -> None:
        """Refuse rows that cannot be made."""
        self.rows(subject)

    def run(self, subject: Subject) -> Findings:
        """Ask."""
        rows = {FORGET: subject.limited(self.rows(subject))}
        return Findings(subject.score(subject.pretrained(), rows).metrics)
