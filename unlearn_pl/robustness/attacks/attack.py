"""What every attack is: something that may bring back what a model was made to forget."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field

from unlearn_pl.recording import Recorded
from unlearn_pl.robustness.curve import Curve
from unlearn_pl.robustness.target import Subject


@dataclass(frozen=True)
class Findings:
    """What an attack has found out about a model.

    Attributes:
        after: leakage under attack, ``<split>_<score>``, and what else the attack measures.
        before: leakage before the attack, by the same names; empty where it is that of the model as it stands.
        curve: leakage against optimizer steps; empty for attacks that do not train.
    """

    after: Mapping[str, float]
    before: Mapping[str, float] = field(default_factory=dict)
    curve: Curve = field(default_factory=dict)


class Attack(Recorded, ABC):
    """Tries to bring forgotten answers back; leaves the folder of the model as it is.

    A subclass loads what it changes with ``subject.build()``, and gets the same result again for the same seed.
    """

    @property
    def name(self) -> str:
        """What tables and files call it."""
        return type(self).__name__

    def check(self, subject: Subject) -> None:
        """Refuse what cannot be done, before any model is loaded.

        Args:
            subject: the model and the data of the attack.

        Raises:
            ValueError: naming what was given and what is accepted.
        """

    @abstractmethod
    def run(self, subject: Subject) -> Findings:
        """Attack the model.

        Args:
            subject: the model, and the data that it was made to forget.
        """
