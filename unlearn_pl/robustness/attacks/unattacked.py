"""No attack: the baseline leakage."""

from unlearn_pl.robustness.attacks.attack import Attack, Findings
from unlearn_pl.robustness.target import Subject


class Unattacked(Attack):
    """No attack: leakage of the forget and the retain split."""

    def run(self, subject: Subject) -> Findings:
        """Evaluate both splits."""
        return Findings.scored(subject.score(subject.pretrained(), subject.splits))
