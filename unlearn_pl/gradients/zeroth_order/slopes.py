"""Gradients by their slopes along the directions of one step."""

from collections.abc import Mapping

import torch
from torch import Tensor

from unlearn_pl.gradients.geometry import Geometry
from unlearn_pl.gradients.gradients import Gradients
from unlearn_pl.gradients.replay import Replay
from unlearn_pl.gradients.rows import restore
from unlearn_pl.gradients.runtime import Runtime
from unlearn_pl.gradients.summed_gradient import SummedGradient
from unlearn_pl.gradients.zeroth_order.common_numbers import CommonNumbers
from unlearn_pl.gradients.zeroth_order.probes import Probes


@torch.no_grad()
def measured_slopes(replay: Replay, probes: Probes) -> Tensor:
    """``(L_k(theta + mu u_q) - L_k(theta - mu u_q)) / 2 mu``: ``[K, Q]`` fp64, before any sum over ranks.

    Losses and progress at ``theta`` itself are left in ``replay``, for one more evaluation: the mean of two points is
    off by the curvature, and thresholds and goals read it.

    Args:
        replay: the window; inside ``runtime.forward_only()``.
        probes: the directions.
    """
    numbers = CommonNumbers(replay.parameters)
    replay.evaluate()
    differences = []
    with probes.moving():
        for q in range(probes.count):
            losses = []
            for sign in (1, -1):
                probes.move(q, sign)
                torch.clear_autocast_cache()  # it may hold casts of the weights elsewhere
                with numbers.again():
                    losses.append(replay.losses_alone())
            differences.append(losses[0] - losses[1])
    torch.clear_autocast_cache()
    return torch.stack(differences, dim=1) / probes.widths.to(differences[0].device)


class Slopes(Gradients):
    """The slopes of K losses along Q directions, of which the gradients are known only these.

    Args:
        replay: the window as if this rank's data were all of it, with its readings.
        slopes: ``[K, Q]`` of that.
        probes: the directions.
    """

    def __init__(self, replay: Replay, slopes: Tensor, probes: Probes) -> None:
        self._probes = probes
        self._names = list(replay.window.objectives)
        self._runtime = replay.runtime
        self._readings, self._slopes = _over_ranks(replay, slopes)

    def measure(self, geometry: Geometry) -> tuple[Tensor, Tensor]:
        """See :meth:`Gradients.measure`; in one block and the Euclidean metric."""
        return self._readings, (self._probes.scale * self._slopes @ self._slopes.T)[None]

    def combine(self, weights: Tensor, geometry: Geometry) -> None:
        """See :meth:`Gradients.combine`; products and the combination have the same slopes."""
        used = weights[0] != 0  # a slope that is not finite has no effect with weight 0
        self._leave(weights[0, used] @ self._slopes[used])

    def summed(self, weights: Mapping[str, float]) -> "SlopedSum":
        """Leave ``sum_k w_k g_k`` in ``.grad``.

        Args:
            weights: name of the objective to its weight.
        """
        chosen = torch.tensor([weights[name] for name in self._names], dtype=torch.float64)
        used = chosen != 0
        slopes = chosen[used] @ self._slopes[used]
        self._leave(slopes)
        return SlopedSum(self._readings, slopes, self._probes.scale, self._runtime)

    def _leave(self, slopes: Tensor) -> None:
        restore(self._runtime.parameters, None)
        self._probes.leave(self._probes.scale * slopes)


def _over_ranks(replay: Replay, slopes: Tensor) -> tuple[Tensor, Tensor]:
    """Readings ``[K, 3]`` and slopes ``[K, Q]`` over all ranks, on the CPU, in one collective with the counts."""
    readings = replay.readings.to(slopes.device)
    if replay.runtime.world_size == 1:
        return readings.cpu(), slopes.cpu()
    losses, sequences = replay.window.totals.to(slopes.device)
    # Means over this rank's data times its counts are sums, which add up.
    parts = [readings[:, :1], slopes, readings[:, 1:]]
    sums = [part * count[:, None] for part, count in zip(parts, (losses, losses, sequences), strict=True)]
    packed = torch.cat([torch.stack([losses, sequences], dim=1), *sums], dim=1)
    torch.distributed.all_reduce(packed)
    counts, loss, slopes, progress = packed.cpu().split([2, 1, slopes.shape[1], 2], dim=1)
    losses, sequences = counts.clamp(min=1).split(1, dim=1)
    return torch.cat([loss / losses, progress / sequences], dim=1), slopes / losses


class SlopedSum(SummedGradient):
    """``g = sum_k w_k g_k``, which is in ``.grad``, measured by its slopes.

    The length of what is in ``.grad`` is that of an estimate, about ``sqrt(d / Q)`` times the length of the gradient in
    d dimensions. What is measured here estimates the latter, as the Gramian does.

    Args:
        readings: ``[K, 3]`` over all ranks.
        slopes: ``[Q]`` of the sum, over all ranks.
        scale: of :class:`Probes`.
        runtime: parameters and ranks.
    """

    def __init__(self, readings: Tensor, slopes: Tensor, scale: float, runtime: Runtime) -> None:
        super().__init__(readings, runtime)
        self._square = scale * slopes.square().sum()

    def measure(self, geometry: Geometry) -> tuple[Tensor, Tensor]:
        """See :meth:`SummedGradient.measure`; nothing is communicated."""
        return self._readings, self._square.view(1, 1, 1)
