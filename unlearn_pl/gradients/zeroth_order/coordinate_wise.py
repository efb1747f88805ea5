"""Gradients from losses at weights that are moved one by one."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from torch.optim import Optimizer

from unlearn_pl.gradients.replay import Replay
from unlearn_pl.gradients.zeroth_order.concerns import lost_in_rounding
from unlearn_pl.gradients.zeroth_order.coordinate_probes import CoordinateProbes
from unlearn_pl.gradients.zeroth_order.coordinates import CoordinateSet, RandomCoordinates
from unlearn_pl.gradients.zeroth_order.forward_source import ForwardSource
from unlearn_pl.gradients.zeroth_order.pieces import pieces_of
from unlearn_pl.gradients.zeroth_order.shards import agreed, size_of


class CoordinateWise(ForwardSource):
    """``g_k[i] = (L_k(theta + mu e_i) - L_k(theta - mu e_i)) / 2 mu`` on some coordinates, 0 elsewhere.

    Per forward pass more exact than random directions, and affordable for some hundreds of coordinates: n of them take
    ``2 n + 1`` forward passes per step. Which ones matters more than how many: a mask file of
    ``unlearn-pl attribute`` with :class:`AllCoordinates` picks those that carry the forgetting.

    Ranks divide the data, and each measures every coordinate on its own share: slopes are linear in the data, so that
    their sum is exact, and the same on any number of ranks. DeepZero divides the coordinates instead, and gives every
    worker the whole batch: the same work per rank, ``2 n / R`` passes of the whole batch instead of 2 n of its R-th
    part, and here the load is balanced without measuring the time of each layer.

    The decoder is run from its first layer for each coordinate: activations before the layer of the coordinate are not
    reused.

    Args:
        coordinates: which weights are probed; :class:`RandomCoordinates` by default.
        mu: distance along a coordinate. Raise it for weights of 16 bits; what is lost in rounding raises ValueError.

    Raises:
        ValueError: if ``mu`` is not positive.

    References:
        Zhang et al., DeepZero, ICLR 2024, arXiv 2310.02025, equation 2. Their code uses one-sided differences.
    """

    def __init__(self, coordinates: CoordinateSet | None = None, mu: float = 1e-3) -> None:
        if not 0 < mu < math.inf:
            raise ValueError(f"mu is {mu}; accepted: a positive distance.")
        self.coordinates = coordinates or RandomCoordinates()
        self.mu = mu
        self.num_directions = self.coordinates.count

    def probes(self, replay: Replay) -> CoordinateProbes:
        """The unit vectors of the coordinates."""
        pieces = agreed(pieces_of(replay.runtime))
        sizes = {piece.name: size_of(piece) for piece in pieces}
        return CoordinateProbes(pieces, self.coordinates.choose(sizes, replay), self.mu)

    def concerns(self, optimizer: Optimizer, steps: int | None) -> Sequence[str]:
        """Warns of shifts that are rounded away."""
        return lost_in_rounding(self.mu, optimizer)

    def reset(self) -> None:
        """Discard what the coordinates depend on."""
        self.coordinates.reset()

    def state_dict(self) -> dict[str, Any]:
        """That of the coordinates."""
        return {"coordinates": self.coordinates.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Resume from ``state``."""
        self.coordinates.load_state_dict(state["coordinates"])
