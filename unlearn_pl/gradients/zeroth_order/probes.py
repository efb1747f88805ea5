"""Base class of the directions of one step: how weights are moved along them, and how a gradient is left."""

from abc import ABC, abstractmethod
from contextlib import AbstractContextManager

from torch import Tensor


class Probes(ABC):
    """The directions ``u_1, ..., u_Q`` along which the slopes of one step are measured.

    Attributes:
        count: Q.
        scale: a, such that ``a sum_q (g_i^T u_q)(g_j^T u_q)`` is, or estimates, ``g_i^T g_j``.
    """

    count: int
    scale: float = 1.0

    @abstractmethod
    def moving(self) -> AbstractContextManager[None]:
        """Context in which :meth:`move` may be called; afterwards the weights are the same bit for bit."""

    @abstractmethod
    def move(self, q: int, sign: int) -> None:
        """Set the weights to ``theta + sign mu u_q``, wherever they are.

        Args:
            q: number of the direction.
            sign: 1 or -1.
        """

    @property
    @abstractmethod
    def widths(self) -> Tensor:
        """Distances ``[Q]`` between the two points of each direction, fp64 on the CPU; ``2 mu`` up to rounding."""

    @abstractmethod
    def leave(self, coefficients: Tensor) -> None:
        """Leave ``sum_q c_q u_q`` in ``.grad``.

        Args:
            coefficients: ``[Q]`` fp64 on the CPU, equal on all ranks.
        """
