"""Where the objectives of a step stand between their starts and their goals."""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Standing:
    """Distances to the goals; fp64 on the CPU, equal on all ranks.

    Attributes:
        distance: ``[K]``, 1 at the start, 0 at the goal, negative beyond it: the way that a forget objective has to go,
            the room that a retain objective has left. NaN without a goal, and before the first step.
        met: ``[K]`` bool: forget objectives that have reached their targets (with hysteresis).
        broken: ``[K]`` bool: retain objectives that are below their floors (with hysteresis).
    """

    distance: Tensor
    met: Tensor
    broken: Tensor

    def of(self, members: Tensor) -> Tensor:
        """Known distances of ``members [K]`` bool: ``[k]``."""
        return self.distance[members & ~self.distance.isnan()]

    @classmethod
    def without_goals(cls, size: int) -> "Standing":
        """The standing of ``size`` objectives without goals."""
        none = torch.zeros(size, dtype=torch.bool)
        return cls(torch.full([size], torch.nan, dtype=torch.float64), none, none.clone())
