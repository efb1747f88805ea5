"""An exponential moving average without the pull of its start at 0."""

import torch
from torch import Tensor


class MovingAverage:
    """``m <- decay * m + (1 - decay) * x``, divided by the same average of ones (the bias correction of Adam).

    Every entry counts only the updates that it took part in.

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
        """Forget every value."""
        self._sum = torch.zeros((), dtype=torch.float64)
        self._weight = torch.zeros((), dtype=torch.float64)

    def update(self, values: Tensor, where: Tensor) -> Tensor:
        """Take ``values [...]`` in where ``where [...]`` is True; return the averages, NaN where there is none yet."""
        decayed_sum = self.decay * self._sum + (1 - self.decay) * values
        decayed_weight = self.decay * self._weight + (1 - self.decay)
        self._sum = torch.where(where, decayed_sum, self._sum)
        self._weight = torch.where(where, decayed_weight, self._weight)
        return self._sum / self._weight

    def state_dict(self) -> dict[str, Tensor]:
        """What :meth:`load_state_dict` needs to go on from here."""
        return {"sum": self._sum.clone(), "weight": self._weight.clone()}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Go on from ``state``."""
        self._sum, self._weight = state["sum"].clone(), state["weight"].clone()
