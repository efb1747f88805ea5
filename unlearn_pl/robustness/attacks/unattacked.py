"""No attack: the baseline leakage."""

from typing import ClassVar

from unlearn_pl.robustness.attacked import Attacked
from unlearn_pl.robustness.attacks.attack import Attack, Findings


class Unattacked(Attack):
    """No attack: leakage of the forget and the retain split."""

    subjects: ClassVar[type[Attacked]] = Attacked  # type: ignore[type-abstract]

    def run(self, subject: Attacked) -> Findings:
        """Evaluate both splits."""
        return Findings.scored(subject.unattacked())
