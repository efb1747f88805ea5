"""What a relearning attack trains on."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

from unlearn_pl.data import StreamSource
from unlearn_pl.recording import Recorded
from unlearn_pl.robustness.target import Subject


@dataclass(frozen=True)
class Selection:
    """Training data, and which forget rows are among it.

    Attributes:
        stream: what is trained on.
        shown: positions of the forget rows that the stream shows.
    """

    stream: StreamSource
    shown: Sequence[int] = ()


class RelearningSet(Recorded, ABC):
    """Selects what a relearning attack trains on."""

    @property
    @abstractmethod
    def name(self) -> str:
        """What tables call it."""

    @abstractmethod
    def select(self, subject: Subject) -> Selection:
        """The training data of the attack.

        Args:
            subject: whose data and seed apply.

        Raises:
            ValueError: if nothing would be trained on.
        """


def share_of(fraction: float, total: int) -> int:
    """How many of ``total`` rows are ``fraction`` of them, rounded down.

    Raises:
        ValueError: if none are, naming the smallest fraction that selects one.
    """
    count = int(fraction * total + 1e-9)
    if not count:
        raise ValueError(
            f"fraction={fraction} of {total} forget rows selects none; accepted are {1 / total:.3g} and more."
        )
    return count


def check_fraction(fraction: float) -> float:
    """``fraction``, if it is one.

    Raises:
        ValueError: if it is not in (0, 1].
    """
    if not 0 < fraction <= 1:
        raise ValueError(f"fraction={fraction}; accepted is a number in (0, 1].")
    return fraction
