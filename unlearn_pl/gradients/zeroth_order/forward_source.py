"""Base class of gradient sources that run forward passes alone."""

from abc import abstractmethod
from collections.abc import Mapping

from unlearn_pl.gradients.base import GradientSource
from unlearn_pl.gradients.gradients import Gradients
from unlearn_pl.gradients.replay import Replay
from unlearn_pl.gradients.runtime import Runtime
from unlearn_pl.gradients.summed_gradient import SummedGradient
from unlearn_pl.gradients.window import Window
from unlearn_pl.gradients.zeroth_order.probes import Probes
from unlearn_pl.gradients.zeroth_order.slopes import Slopes, measured_slopes


class ForwardSource(GradientSource):
    """Slopes by central differences; subclasses choose the directions in :meth:`probes`.

    The model is in evaluation mode while it is measured, and gradient mode is off. All objectives are evaluated at the
    same points, so that the slopes ``D [K, Q]`` give every product of gradients, ``a D D^T``. Ranks that divide the
    data add up their slopes: one reduction of ``K (Q + 5)`` numbers per step, and no gradient is sent.
    """

    keeps_rows = False
    whole_rows = False
    every_metric = False
    every_scope = False
    backpropagates = False

    @abstractmethod
    def probes(self, replay: Replay) -> Probes:
        """The directions of a step, the same on every rank.

        Args:
            replay: the window, its step and the parameters.
        """

    def measure(self, window: Window, runtime: Runtime) -> Gradients:
        """The slopes of every objective."""
        return self._slopes(window, runtime)

    def weighted_sum(self, window: Window, runtime: Runtime, weights: Mapping[str, float]) -> SummedGradient:
        """The sum of the gradients, from the slopes of each: forward passes alone."""
        return self._slopes(window, runtime).summed(weights)

    def _slopes(self, window: Window, runtime: Runtime) -> Slopes:
        replay = Replay(window.alone, runtime)
        with runtime.forward_only():
            probes = self.probes(Replay(window, runtime))
            slopes = measured_slopes(replay, probes)
        return Slopes(replay, slopes, probes)
