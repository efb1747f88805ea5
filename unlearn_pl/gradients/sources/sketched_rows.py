"""Gradients represented by their sketches alone."""

from collections.abc import Mapping

import torch
from torch import Tensor

from unlearn_pl.gradients.base import GradientSource
from unlearn_pl.gradients.geometry import Geometry
from unlearn_pl.gradients.gradients import Gradients
from unlearn_pl.gradients.replay import Replay
from unlearn_pl.gradients.runtime import Runtime
from unlearn_pl.gradients.sketch import CountSketch
from unlearn_pl.gradients.sources.first_order import plain_sum
from unlearn_pl.gradients.summed_gradient import SummedGradient
from unlearn_pl.gradients.window import Window


class SketchedRows(GradientSource):
    """``G[i, j] = (S g_i)^T (S g_j)`` with a seeded sketch ``S``; the window is then run again as one weighted sum.

    Needs the memory, and under DDP the communication, of a plain sum, but the window is run twice.

    Args:
        size: numbers per sketch; the error of a cosine is about ``1 / sqrt(size)``.

    Raises:
        ValueError: if ``size`` is out of range.

    References:
        Charikar, Chen and Farach-Colton, Finding Frequent Items in Data Streams, ICALP 2002.
    """

    keeps_rows = False
    whole_rows = False
    every_metric = False
    every_scope = False
    plain = True

    def __init__(self, size: int = 16_384) -> None:
        self._sketch = CountSketch(size)

    def measure(self, window: Window, runtime: Runtime) -> Gradients:
        """Sketches of the gradients."""
        replay = Replay(window, runtime)
        sketches = replay.sketches(self._sketch)
        return Sketches(replay.readings, sketches, window, runtime)

    def weighted_sum(self, window: Window, runtime: Runtime, weights: Mapping[str, float]) -> SummedGradient:
        """The gradient of the weighted sum of the losses."""
        return plain_sum(window, runtime, weights)


class Sketches(Gradients):
    """Sketches of K gradients.

    Args:
        readings: ``[K, 3]`` this rank's shares of the mean losses and of the progress.
        sketches: ``[K, size]``, each rank's addend.
        window: the data of the step, to be run again.
        runtime: forward and backward passes.
    """

    def __init__(self, readings: Tensor, sketches: Tensor, window: Window, runtime: Runtime) -> None:
        self._readings = readings
        self._sketches = sketches
        self._window = window
        self._runtime = runtime

    def measure(self, geometry: Geometry) -> tuple[Tensor, Tensor]:
        """See :meth:`Gradients.measure`; in one block and the Euclidean metric."""
        packed = torch.cat([self._readings.to(self._sketches.device), self._sketches.double()], dim=1)
        if self._runtime.world_size > 1:
            torch.distributed.all_reduce(packed)
        width = self._readings.shape[1]
        rows = packed[:, width:]
        on_cpu = torch.cat([packed[:, :width], rows @ rows.T], dim=1).cpu()
        return on_cpu[:, :width], on_cpu[None, :, width:]

    def combine(self, weights: Tensor, geometry: Geometry) -> SummedGradient:
        """See :meth:`Gradients.combine`; runs the window again."""
        named = dict(zip(self._window.objectives, weights[0].tolist(), strict=True))
        return plain_sum(self._window, self._runtime, named)
