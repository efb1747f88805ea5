"""The weighted sum of the losses."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from unlearn_pl.combiners.linear_ramp import LinearRamp
from unlearn_pl.combiners.loss_combiner import LossCombiner
from unlearn_pl.types import Role


class Scalarization(LossCombiner):
    """``sum_k w_k L_k`` with fixed weights: a trade-off chosen beforehand.

    The cheapest rule (no Gramian, a single accumulated gradient), and the baseline for all others.

    Args:
        weights: name of an objective to its weight, or to a :class:`~unlearn_pl.combiners.LinearRamp` over the steps; 1
            for objectives that are not named.

    Example:
        >>> import torch
        >>> combiner = Scalarization({"retain": 2.0})
        >>> combiner.setup(["forget", "retain"], ["forget", "retain"])
        >>> combiner(None, torch.zeros(2))
        tensor([1., 2.], dtype=torch.float64)
    """

    def __init__(self, weights: Mapping[str, float | LinearRamp] | None = None) -> None:
        super().__init__()
        self.weights = dict(weights or {})
        self._step = 0

    def setup(self, names: Sequence[str], roles: Sequence[Role], zero_at_start: Sequence[bool] = ()) -> None:
        """See :meth:`Combiner.setup`; also raises ``ValueError`` if ``weights`` names an unknown objective."""
        super().setup(names, roles, zero_at_start)
        if unknown := sorted(set(self.weights) - set(names)):
            raise ValueError(f"weights names {unknown}, but the objectives are {list(names)}.")
        self._step = 0

    def weigh(self, losses: Tensor) -> Tensor:
        """The weights ``[K]`` from the constructor, of this step."""
        given = [self.weights.get(name, 1.0) for name in self._names]
        now = [weight(self._step) if isinstance(weight, LinearRamp) else weight for weight in given]
        self._step += 1
        return torch.tensor(now, dtype=torch.float64)

    def state_dict(self) -> dict[str, Any]:
        """See :meth:`Combiner.state_dict`; includes the number of steps."""
        return super().state_dict() | {"step": self._step}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Resume from ``state``, after :meth:`setup`."""
        super().load_state_dict(state)
        self._step = state.get("step", 0)  # earlier versions had no weights that change
