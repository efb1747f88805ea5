"""Reuse of combiner weights between solves (``refresh_every``), and the bound on the length of the steps between."""

import math
from typing import Any

import torch
from torch import Tensor

from unlearn_pl.engine.step import Step

LOSS_CHANGE = 2.0
"""The combiner solves early when a loss has grown or shrunk by more than this factor since the last solve."""


class Refresh:
    """Solves at every ``m``-th optimizer step; the steps in between reuse the weights of the raw gradients.

    Those steps need the gradient of one weighted sum: no rows, no Gramian. Raw weights scale like ``1/|g|``, so stale
    ones are too large when gradients grow: a step that reuses weights is at most as long as the step that was solved
    for them. The combiner solves early when a loss has changed by more than the factor :data:`LOSS_CHANGE`, when an
    objective has crossed its ``satisfied`` threshold or met its goal, and after a skipped step.

    All decisions depend only on losses and norms, which are equal on all ranks.

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
        """Update with a step that solved for its weights, and the length of its gradient.

        Weights of a step that dropped an objective with a non-finite loss or gradient are not reused.
        """
        self.reset()
        if self.every > 1 and step.weights.any() and step.finite.all():
            self.weights, self._losses, self.longest = step.weights[0], step.losses, length

    def reused(self, step: Step, goals_changed: bool, satisfied: Tensor) -> None:
        """Update with a step that reused the weights.

        Args:
            step: its losses and its (capped) weights.
            goals_changed: an objective has crossed its ``satisfied`` threshold.
            satisfied: ``[K]`` True for satisfied objectives, whose losses may change by any factor.
        """
        self._age += 1
        assert self._losses is not None
        moved = _changed(self._losses, step.losses) & ~satisfied
        if self._age >= self.every - 1 or goals_changed or moved.any() or not step.weights.any():
            self.reset()

    def state_dict(self) -> dict[str, Any]:
        """State for :meth:`load_state_dict`."""
        return {"weights": self.weights, "longest": self.longest, "losses": self._losses, "age": self._age}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Resume from ``state``; with another ``every``, the first step may solve."""
        self.reset()
        if state["weights"] is not None and state["age"] < self.every - 1:
            self.weights, self.longest = state["weights"], state["longest"]
            self._losses, self._age = state["losses"], state["age"]


def _changed(before: Tensor, now: Tensor) -> Tensor:
    """``[K]``: True where the loss has changed its sign, or its size by more than the factor :data:`LOSS_CHANGE`."""
    small, large = torch.minimum(before.abs(), now.abs()), torch.maximum(before.abs(), now.abs())
    return (before * now < 0) | (large > LOSS_CHANGE * small)
