"""Base class of attacks that try to recover forgotten knowledge."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field

from unlearn_pl.recording import Recorded
from unlearn_pl.robustness.curve import Curve
from unlearn_pl.robustness.target import Subject


@dataclass(frozen=True)
class Findings:
    """Results of an attack on a model.

    Attributes:
        after: leakage under attack, ``<split>_<score>``, and other numbers that the attack measures.
        before: leakage before the attack, by the same names; empty if it is that of the unattacked model.
        curve: leakage against optimizer steps; empty for attacks that do not train.
    """

    after: Mapping[str, float]
    before: Mapping[str, float] = field(default_factory=dict)
    curve: Curve = field(default_factory=dict)


class Attack(Recorded, ABC):
    """Tries to recover forgotten answers; does not change the model's folder.

    A subclass loads the model that it modifies with ``subject.build()``. The same seed must give the same result.
    """

    @property
    def name(self) -> str:
        """Name in tables and files."""
        return type(self).__name__

    def check(self, subject: Subject) -> None:
        """Check that the attack is possible, before any model is loaded.

        Args:
            subject: the model and the data of the attack.

        Raises:
            ValueError: if it is not; the message names what was given and what is accepted.
        """

    @abstractmethod
    def run(self, subject: Subject) -> Findings:
        """Attack the model.

        Args:
            subject: the model and the data of the attack.
        """
