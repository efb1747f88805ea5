"""When the combiner solves again, and how long a step with its last weights may be."""

import math
from typing import Any

import torch
from torch import Tensor

from unlearn_pl.engine.step import Step

LOSS_CHANGE = 2.0
"""The combiner solves again when a loss has grown or shrunk by more than this factor since it last did."""


class Refresh:
    """Solves at every ``m``-th optimizer step; the steps between reuse the weights for the raw gradients.

    A step between needs the gradient of one weighted sum: no rows, no Gramian. But raw weights are of the kind
    ``1/|g|``, and old ones blow up when gradients grow: such a step is at most as long as the last one that was solved
    for. It is solved early when a loss has changed by more than :data:`LOSS_CHANGE`, or an objective has reached or
    lost its goal; and at the next step after one that was skipped.

    All decisions come from losses and norms that are equal on all ranks.

    Args:
        every: ``m``; 1 to solve at every step.

    Raises:
        ValueError: if ``every`` is below 1.
    """

    def __init__(self, every: int) -> None:
        if every < 1:
            raise ValueError(f"refresh_every is {every}; accepted: 1 (every step) or more optimizer steps.")
        self.every = every
        self.reset()

    def reset(self) -> None:
        """Discard the last weights."""
        self.weights: Tensor | None = None
        self.longest = math.inf
        self._losses: Tensor | None = None
        self._age = 0

    @property
    def due(self) -> bool:
        """True when this step must solve."""
        return self.weights is None

    def solved(self, step: Step, length: float) -> None:
        """Take in a step whose weights are the combiner's, and the length of its gradient.

        Weights that were found without an objective whose loss or gradient was not finite are not used again.
        """
        self.reset()
        if self.every > 1 and step.weights.any() and step.finite.all():
            self.weights, self._losses, self.longest = step.weights[0], step.losses, length

    def reused(self, step: Step, goals_changed: bool, satisfied: Tensor) -> None:
        """Take in a step that reused the weights.

        Args:
            step: its losses and its (capped) weights.
            goals_changed: an objective has reached or lost its goal.
            satisfied: ``[K]`` the objectives whose goal is reached: their losses do not matter.
        """
        self._age += 1
        assert self._losses is not None
        moved = _changed(self._losses, step.losses) & ~satisfied
        if self._age >= self.every - 1 or goals_changed or moved.any() or not step.weights.any():
            self.reset()

    def state_dict(self) -> dict[str, Any]:
        """What :meth:`load_state_dict` needs to resume."""
        return {"weights": self.weights, "longest": self.longest, "losses": self._losses, "age": self._age}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Resume from ``state``; with another ``every``, the first step may solve."""
        self.reset()
        if state["weights"] is not None and state["age"] < self.every - 1:
            self.weights, self.longest = state["weights"], state["longest"]
            self._losses, self._age = state["losses"], state["age"]


def _changed(before: Tensor, now: Tensor) -> Tensor:
    """``[K]``: has the loss changed its sign, or its size by more than :data:`LOSS_CHANGE`?"""
    small, large = torch.minimum(before.abs(), now.abs()), torch.maximum(before.abs(), now.abs())
    return (before * now < 0) | (large > LOSS_CHANGE * small)
