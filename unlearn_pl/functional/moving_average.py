"""Exponential moving average with bias correction."""

import torch
from torch import Tensor


class MovingAverage:
    """``m <- decay * m + (1 - decay) * x``, divided by the same average of ones (the bias correction of Adam).

    Every entry counts only the updates that include it.

    Args:
        decay: in ``[0, 1)``; 0 keeps the last value.

    Raises:
        ValueError: if ``decay`` is outside ``[0, 1)``.
    """

    def __init__(self, decay: float) -> None:
        if not 0 <= decay < 1:
            raise ValueError(f"The decay of a moving average is {decay}, but must be in [0, 1).")
        self.decay = decay
        self.reset()

    def reset(self) -> None:
        """Reset all averages."""
        self._sum = torch.zeros((), dtype=torch.float64)
        self._weight = torch.zeros((), dtype=torch.float64)

    def update(self, values: Tensor, where: Tensor) -> Tensor:
        """Update with ``values [...]`` where ``where [...]`` is True; return the averages, NaN without values."""
        decayed_sum = self.decay * self._sum + (1 - self.decay) * values
        decayed_weight = self.decay * self._weight + (1 - self.decay)
        self._sum = torch.where(where, decayed_sum, self._sum)
        self._weight = torch.where(where, decayed_weight, self._weight)
        return self._sum / self._weight

    def state_dict(self) -> dict[str, Tensor]:
        """The state for :meth:`load_state_dict`."""
        return {"sum": self._sum.clone(), "weight": self._weight.clone()}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Resume from ``state``."""
        self._sum, self._weight = state["sum"].clone(), state["weight"].clone()
