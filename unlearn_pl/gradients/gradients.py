"""Base class of what a gradient source returns: losses of a window, products of its gradients, their combination."""

from abc import ABC, abstractmethod
from collections.abc import Mapping

from torch import Tensor

from unlearn_pl.gradients.geometry import Geometry
from unlearn_pl.gradients.rows import Row
from unlearn_pl.gradients.summed_gradient import SummedGradient


class Gradients(ABC):
    """The gradients ``g_1, ..., g_K`` of one window, in whatever form they are held."""

    @abstractmethod
    def measure(self, geometry: Geometry) -> tuple[Tensor, Tensor]:
        """Losses, progress and products over all ranks, in one small collective and one transfer to the CPU.

        Args:
            geometry: blocks and metric of the products.

        Returns:
            The readings ``[K, 3]`` (mean loss over the window and all ranks, progress, and progress relative to the
            reference model, NaN where there is none), and ``G[n, i, j] = g_i^T H g_j`` over the parameters of block n,
            ``[N, K, K]``; both fp64 on the CPU, equal on all ranks.
        """

    @abstractmethod
    def combine(self, weights: Tensor, geometry: Geometry) -> SummedGradient | None:
        """Leave ``sum_k w_nk g_k`` in ``.grad``; gradients of weight 0 are skipped, even if they are not finite.

        May be called again for other gradients, with weight 0 for those that were combined before.

        Args:
            weights: ``[N, K]``, a weight per block and gradient.
            geometry: the blocks.

        Returns:
            The combined gradient, to be measured itself, if products are estimates; None if they are exact.
        """

    def rows(self) -> Mapping[str, Row] | None:
        """Name to gradient row, to be read element by element; None if there are no whole rows."""
        return None
