"""Retaining as a constraint, whose multiplier is the weight of the retain losses."""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from unlearn_pl.combiners.loss_combiner import LossCombiner
from unlearn_pl.types import Role


class PrimalDual(LossCombiner):
    """``min L_f`` subject to ``L_r <= budget``: weights 1 and ``a``; ``a <- max(0, a + step_size (L_r - budget))``.

    ``L_f`` is the sum of the losses of role ``forget``, ``L_r`` that of role ``retain``. The multiplier ``a`` grows
    while the retain loss exceeds its budget, and falls while it is below; at 0 the retain losses have no effect. It is
    updated once per optimizer step, with the retain loss of the previous step, averaged over the whole window and all
    ranks. A step whose retain loss is not finite does not change it.

    Args:
        budget: upper bound on the sum of the retain losses; set it slightly above the reference model's.
        step_size: step size of the multiplier.
        initial: the multiplier at the start.
        warmup_steps: optimizer steps with the initial multiplier before its first update.

    Attributes:
        multiplier: ``a``, the current weight of the retain losses.

    Raises:
        ValueError: if an argument is not finite or out of range.

    Example:
        >>> import torch
        >>> combiner = PrimalDual(budget=0.5, step_size=2.0)
        >>> combiner.setup(["forget", "retain"], ["forget", "retain"])
        >>> combiner(None, torch.tensor([torch.nan, torch.nan]))  # nothing is known before the first step
        tensor([1., 1.], dtype=torch.float64)
        >>> combiner(None, torch.tensor([0.1, 0.75]))
        tensor([1.0000, 1.5000], dtype=torch.float64)

    References:
        Entesari et al., Constrained Entropic Unlearning: A Primal-Dual Framework for Large Language Models (PDU),
        NeurIPS 2025, arXiv 2506.05314. On TOFU it starts at 100 with step size 5 and budget 0.3, on MUSE at 50 with
        step size 1. The authors' code updates the multiplier at every micro-batch and on each rank separately, and
        counts the warm-up in epochs.
    """

    needs_roles = frozenset({"forget", "retain"})

    def __init__(self, budget: float, step_size: float = 1.0, initial: float = 1.0, warmup_steps: int = 0) -> None:
        super().__init__()
        if not math.isfinite(budget):
            raise ValueError(f"budget is {budget}, but must be a finite number.")
        if not 0 < step_size < math.inf:
            raise ValueError(f"step_size is {step_size}, but must be positive and finite.")
        if not 0 <= initial < math.inf:
            raise ValueError(f"initial is {initial}, but must be finite and not negative.")
        if warmup_steps < 0:
            raise ValueError(f"warmup_steps is {warmup_steps}, but must not be negative.")
        self.budget = budget
        self.step_size = step_size
        self.initial = initial
        self.warmup_steps = warmup_steps
        self.multiplier = float(initial)
        self._calls = 0

    def setup(self, names: Sequence[str], roles: Sequence[Role], zero_at_start: Sequence[bool] = ()) -> None:
        """See :meth:`Combiner.setup`; also resets the multiplier."""
        super().setup(names, roles, zero_at_start)
        self.multiplier = float(self.initial)
        self._calls = 0

    def weigh(self, losses: Tensor) -> Tensor:
        """``[K]``: 1 for forget losses, the multiplier for retain losses; ``losses [K]`` are the previous step's."""
        retain = self.members_of("retain")
        violation = losses[retain].sum().item() - self.budget
        if self._calls > self.warmup_steps and math.isfinite(violation):
            self.multiplier = max(0.0, self.multiplier + self.step_size * violation)
        self._calls += 1
        return torch.ones_like(losses).masked_fill(retain, self.multiplier)

    def state_dict(self) -> dict[str, Any]:
        """See :meth:`Combiner.state_dict`; includes the multiplier and the number of calls."""
        return super().state_dict() | {"multiplier": self.multiplier, "calls": self._calls}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Resume from ``state``, after :meth:`setup`."""
        super().load_state_dict(state)
        self.multiplier, self._calls = state["multiplier"], state["calls"]
