"""Base class of the training sets of relearning attacks."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

from unlearn_pl.data import StreamSource
from unlearn_pl.recording import Recorded
from unlearn_pl.robustness.target import Subject


@dataclass(frozen=True)
class Selection:
    """Training data of a relearning attack, and the forget rows that it contains.

    Attributes:
        stream: the training stream.
        shown: positions in the forget split of the rows that the stream contains.
    """

    stream: StreamSource
    shown: Sequence[int] = ()


class RelearningSet(Recorded, ABC):
    """Selects the training data of a relearning attack."""

    @property
    @abstractmethod
    def name(self) -> str:
        """Name in tables."""

    @abstractmethod
    def select(self, subject: Subject) -> Selection:
        """The training data of the attack.

        Args:
            subject: the model under attack, for its data and seed.

        Raises:
            ValueError: if no row is selected.
        """


def share_of(fraction: float, total: int) -> int:
    """``fraction * total``, rounded down to a number of rows.

    Raises:
        ValueError: if it is 0; the message names the smallest fraction that selects a row.
    """
    count = int(fraction * total + 1e-9)
    if not count:
        raise ValueError(
            f"fraction={fraction} of {total} forget rows selects none; accepted are {1 / total:.3g} and more."
        )
    return count


def check_fraction(fraction: float) -> float:
    """``fraction``, if it is in (0, 1].

    Raises:
        ValueError: if it is not.
    """
    if not 0 < fraction <= 1:
        raise ValueError(f"fraction={fraction}; accepted is a number in (0, 1].")
    return fraction
