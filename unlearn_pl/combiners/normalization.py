"""Normalization of gradients: the lengths that they are divided by before they are combined."""

from typing import Literal, get_args

import torch
from torch import Tensor

from unlearn_pl.functional.moving_average import MovingAverage

NormalizationKind = Literal["none", "l2", "ema"]


class Normalization:
    """A positive length ``n_k`` per gradient; the rule is solved for ``g_k / n_k``.

    Any positive scaling preserves common descent and only changes the trade-off. With the current norm, a converged
    objective, whose gradient tends to 0, is amplified forever; a slow average or a floor lets it fade out.

    Args:
        kind: ``none`` (``n_k = 1``), ``l2`` (the norm of this step), ``ema`` (root of the moving average of the squared
            norms over the steps in which the objective was active).
        decay: decay of that average.
        floor: ``n_k`` is at least this fraction of the largest norm so far, in ``[0, 1]``; 0 for none.

    Raises:
        ValueError: if an argument is out of range.
    """

    def __init__(self, kind: NormalizationKind, decay: float, floor: float) -> None:
        if kind not in get_args(NormalizationKind):
            raise ValueError(f"normalization is {kind!r}, but must be one of {get_args(NormalizationKind)}.")
        if not 0 <= floor <= 1:
            raise ValueError(f"norm_floor is {floor}, but must be in [0, 1].")
        self.kind = kind
        self.floor = floor
        self._average = MovingAverage(decay)
        self.reset()

    def reset(self) -> None:
        """Discard all norms."""
        self._average.reset()
        self._largest = torch.zeros((), dtype=torch.float64)

    def update(self, norms: Tensor, where: Tensor) -> Tensor:
        """Update with ``norms [..., K]`` where ``where [..., K]`` is True; return ``n_k [..., K]``, valid there."""
        average = self._average.update(norms.square(), where).sqrt()
        self._largest = torch.where(where, torch.maximum(self._largest, norms), self._largest)
        if self.kind == "none":
            return torch.ones_like(norms)
        return torch.maximum(norms if self.kind == "l2" else average, self.floor * self._largest)

    def state_dict(self) -> dict[str, Tensor | dict[str, Tensor]]:
        """State for :meth:`load_state_dict`."""
        return {"largest": self._largest.clone(), "average": self._average.state_dict()}

    def load_state_dict(self, state: dict) -> None:
        """Resume from ``state``."""
        self._largest = state["largest"].clone()
        self._average.load_state_dict(state["average"])
