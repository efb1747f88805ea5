"""The gradient of a weighted sum of the losses."""

from collections.abc import Sequence

from torch import Tensor

from unlearn_pl.gradients.geometry import Geometry
from unlearn_pl.gradients.rows import combine, harvest, reduced_products, restore
from unlearn_pl.gradients.runtime import Runtime


class SummedGradient:
    """``g = sum_k w_k g_k``, which is in ``.grad``.

    Args:
        losses: K of ``[]``, this rank's shares of the mean losses.
        runtime: parameters and ranks.
    """

    def __init__(self, losses: Sequence[Tensor], runtime: Runtime) -> None:
        self._losses = losses
        self._runtime = runtime

    def measure(self, geometry: Geometry) -> tuple[Tensor, Tensor]:
        """The losses ``[K]`` of the window and the products ``[N, 1, 1]`` of the sum with itself, over all ranks."""
        row = harvest(self._runtime.parameters)
        restore(self._runtime.parameters, row)
        ranks, shards = self._runtime.world_size, self._runtime.sharded
        return reduced_products(self._losses, [row], geometry.blocks, geometry.metric, world_size=ranks, parts=shards)

    def scale(self, factor: float) -> None:
        """Leave ``factor * g`` in ``.grad``; factor 0 leaves None, so that non-finite values have no effect."""
        parameters = self._runtime.parameters
        combine(parameters, [harvest(parameters)], [[factor]])
