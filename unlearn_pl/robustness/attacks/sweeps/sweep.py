"""Base class of attacks that try several settings."""

from abc import abstractmethod
from collections.abc import Sequence

from unlearn_pl.robustness.attacks.attack import Attack, Findings
from unlearn_pl.robustness.target import Subject


class Sweep(Attack):
    """Runs an attack in several settings and combines what they find.

    An audit saves the outcome of every setting, so that an interrupted sweep goes on at the setting that it was
    interrupted in.
    """

    @property
    @abstractmethod
    def settings(self) -> Sequence[Attack]:
        """The attack in each setting."""

    @abstractmethod
    def combine(self, found: Sequence[Findings]) -> Findings:
        """The findings of the sweep.

        Args:
            found: those of the settings, in their order.
        """

    @property
    def changes_weights(self) -> bool:
        """Whether any setting does."""
        return any(setting.changes_weights for setting in self.settings)

    def cost(self, subject: Subject) -> float:
        """That of all settings."""
        return sum(setting.cost(subject) for setting in self.settings)

    def check(self, subject: Subject) -> None:
        """Check that the attack is possible in every setting."""
        for setting in self.settings:
            setting.check(subject)

    def run(self, subject: Subject) -> Findings:
        """Run every setting, and combine."""
        return self.combine([setting.run(subject) for setting in self.settings])
