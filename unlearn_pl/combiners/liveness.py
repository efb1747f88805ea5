"""Active objectives: which objectives take part in a step."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from unlearn_pl.functional.moving_average import MovingAverage
from unlearn_pl.types import Role


class Liveness:
    """Drops gradients that are rounding noise, and satisfied objectives.

    A solver would give either of them a large weight: min-norm weights favor the shortest gradient. An objective is
    active while all of this holds:

    * its loss and its gradient are finite;
    * its norm exceeds ``min_relative_norm`` times the largest;
    * if its gradient is zero by definition at the start (a divergence from the reference model), its norm exceeds
      ``noise_factor`` times that of the first call, which is noise of dropout, padding and precision;
    * it is not satisfied: the moving average of its loss fell below its threshold, and has not risen above twice that.

    Args:
        min_relative_norm: in ``[0, 1)``.
        noise_factor: at least 0.
        satisfied: threshold for the losses of all objectives of role ``forget``, or thresholds by name.
        satisfied_decay: decay of the moving average of the losses.

    Raises:
        ValueError: if an argument is out of range.
    """

    def __init__(
        self,
        min_relative_norm: float,
        noise_factor: float,
        satisfied: float | dict[str, float] | None,
        satisfied_decay: float,
    ) -> None:
        if not 0 <= min_relative_norm < 1:
            raise ValueError(f"min_relative_norm is {min_relative_norm}, but must be in [0, 1).")
        if not noise_factor >= 0:
            raise ValueError(f"noise_factor is {noise_factor}, but must not be negative.")
        given = satisfied.values() if isinstance(satisfied, dict) else [] if satisfied is None else [satisfied]
        if not all(threshold > 0 for threshold in given):
            raise ValueError(f"satisfied is {satisfied}, but thresholds must be positive.")
        self.min_relative_norm = min_relative_norm
        self.noise_factor = noise_factor
        self.satisfied = satisfied
        self._loss_average = MovingAverage(satisfied_decay)

    def setup(self, names: Sequence[str], roles: Sequence[Role], zero_at_start: Sequence[bool]) -> None:
        """Reset the state for these objectives; raises ``ValueError`` for unknown names in ``satisfied``."""
        self._names = tuple(names)
        self._thresholds = torch.tensor(self._thresholds_of(names, roles), dtype=torch.float64)
        self._zero_at_start = torch.tensor(zero_at_start, dtype=torch.bool)
        self._noise = torch.full((len(names),), torch.nan, dtype=torch.float64)
        self._loss_average.reset()
        self.satisfied_now = torch.zeros(len(names), dtype=torch.bool)

    def _thresholds_of(self, names: Sequence[str], roles: Sequence[Role]) -> list[float]:
        if isinstance(self.satisfied, dict):
            if unknown := sorted(set(self.satisfied) - set(names)):
                raise ValueError(f"satisfied names {unknown}, but the objectives are {list(names)}.")
            return [self.satisfied.get(name, -math.inf) for name in names]
        forget = -math.inf if self.satisfied is None else self.satisfied
        return [forget if role == "forget" else -math.inf for role in roles]

    def update(self, norms: Tensor, losses: Tensor) -> Tensor:
        """Update with a step's gradient norms ``[K]`` and losses ``[K]``; return the active objectives, ``[K]`` bool.

        Raises:
            ValueError: see :meth:`observe`.
        """
        finite = norms.isfinite() & losses.isfinite()
        self._noise = torch.where(self._noise.isnan() & finite, norms, self._noise)
        self.observe(losses, where=finite)

        floor = self.min_relative_norm * norms[finite].max() if finite.any() else 0.0
        above_noise = ~self._zero_at_start | (norms > self.noise_factor * self._noise)
        return finite & (norms > 0) & (norms > floor) & above_noise & ~self.satisfied_now

    def observe(self, losses: Tensor, where: Tensor | None = None) -> bool:
        """Update with a step's losses ``[K]``, where ``where [K]`` is True; True if an objective crossed its threshold.

        Raises:
            ValueError: if a loss with a threshold is negative, so that it would count as satisfied from the start.
        """
        negative = (losses < 0) & self._thresholds.isfinite()
        if negative.any():
            names = [name for name, bad in zip(self._names, negative, strict=True) if bad]
            raise ValueError(
                f"The losses of {names} are negative ({losses[negative].tolist()}), so satisfied={self.satisfied} would"
                " drop them from the start. Use satisfied=None, or name only losses that are never negative."
            )
        average = self._loss_average.update(losses, where=losses.isfinite() if where is None else where)
        before = self.satisfied_now
        # Hysteresis keeps a noisy loss from switching its objective on and off.
        limits = torch.where(before, 2 * self._thresholds, self._thresholds)
        self.satisfied_now = average < limits
        return bool((self.satisfied_now != before).any())

    def state_dict(self) -> dict[str, Tensor | dict[str, Tensor]]:
        """State for :meth:`load_state_dict`."""
        return {
            "noise": self._noise.clone(),
            "satisfied_now": self.satisfied_now.clone(),
            "loss_average": self._loss_average.state_dict(),
        }

    def load_state_dict(self, state: dict) -> None:
        """Resume from ``state``, after :meth:`setup`."""
        self._noise, self.satisfied_now = state["noise"].clone(), state["satisfied_now"].clone()
        self._loss_average.load_state_dict(state["loss_average"])
