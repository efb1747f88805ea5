"""Base class of attacks that try to recover forgotten knowledge."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Self

from unlearn_pl.recording import Recorded
from unlearn_pl.robustness.attacked import FORGET, Attacked, Leakage
from unlearn_pl.robustness.curve import Curve
from unlearn_pl.robustness.target import Subject


@dataclass(frozen=True)
class Findings:
    """Results of an attack on a model.

    Attributes:
        after: leakage under attack, ``<split>_<score>``, and other numbers that the attack measures.
        before: leakage before the attack, by the same names; empty if it is that of the unattacked model.
        curve: leakage against optimizer steps; empty for attacks that do not train.
        rows: leakage of every row of the forget split under attack, in the order of the rows, by the names of
            ``after``; those without it have no interval in a verdict.
    """

    after: Mapping[str, float]
    before: Mapping[str, float] = field(default_factory=dict)
    curve: Curve = field(default_factory=dict)
    rows: Mapping[str, Sequence[float]] = field(default_factory=dict)

    @classmethod
    def scored(cls, evaluation: Leakage) -> Self:
        """The metrics of an evaluation, and the leakage of every forget row."""
        return cls(evaluation.metrics, rows=evaluation.rows(FORGET))


class Attack(Recorded, ABC):
    """Tries to recover forgotten answers; does not change the model's folder.

    A subclass loads the model that it modifies with ``subject.build()``. The same seed must give the same result.

    Attributes:
        subjects: kind of models that the attack is for: language models, unless a subclass says otherwise.
    """

    subjects: ClassVar[type[Attacked]] = Subject

    @property
    def name(self) -> str:
        """Name in tables and files."""
        return type(self).__name__

    @property
    def changes_weights(self) -> bool:
        """Whether the attacked model has other weights, so that its utility may have suffered."""
        return False

    def cost(self, subject: Subject) -> float:
        """Rough cost of :meth:`run`, as a multiple of an evaluation of both splits with generated answers.

        Attacks run in the order of their costs where time is limited.

        Args:
            subject: the model and the data of the attack.
        """
        return 1.0

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
