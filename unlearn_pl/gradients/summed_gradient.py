"""The gradient of a weighted sum of the losses."""

from torch import Tensor

from unlearn_pl.gradients.geometry import Geometry
from unlearn_pl.gradients.rows import combine, harvest, reduced_products, restore
from unlearn_pl.gradients.runtime import Runtime


class SummedGradient:
    """``g = sum_k w_k g_k``, which is in ``.grad``.

    Args:
        readings: ``[K, 3]`` this rank's shares of the mean losses and of the progress.
        runtime: parameters and ranks.
    """

    def __init__(self, readings: Tensor, runtime: Runtime) -> None:
        self._readings = readings
        self._runtime = runtime

    def measure(self, geometry: Geometry) -> tuple[Tensor, Tensor]:
        """The readings ``[K, 3]`` of the window and the products ``[N, 1, 1]`` of the sum with itself."""
        row = harvest(self._runtime.parameters)
        restore(self._runtime.parameters, row)
        ranks, shards = self._runtime.world_size, self._runtime.sharded
        return reduced_products(self._readings, [row], geometry.blocks, geometry.metric, world_size=ranks, parts=shards)

    def scale(self, factor: float) -> None:
        """Leave ``factor * g`` in ``.grad``; factor 0 leaves None, so that non-finite values have no effect."""
        parameters = self._runtime.parameters
        combine(parameters, [harvest(parameters)], [[factor]])
