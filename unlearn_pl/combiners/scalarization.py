"""The weighted sum of the losses."""

from collections.abc import Sequence

import torch
from torch import Tensor

from unlearn_pl.combiners.loss_combiner import LossCombiner
from unlearn_pl.types import Role


class Scalarization(LossCombiner):
    """``sum_k w_k L_k`` with fixed weights: a trade-off chosen beforehand.

    The cheapest rule (no Gramian, a single accumulated gradient), and the baseline for all others.

    Args:
        weights: name of an objective to its weight; 1 for objectives that are not named.

    Example:
        >>> import torch
        >>> combiner = Scalarization({"retain": 2.0})
        >>> combiner.setup(["forget", "retain"], ["forget", "retain"])
        >>> combiner(None, torch.zeros(2))
        tensor([1., 2.], dtype=torch.float64)
    """

    def __init__(self, weights: dict[str, float] | None = None) -> None:
        super().__init__()
        self.weights = dict(weights or {})

    def setup(self, names: Sequence[str], roles: Sequence[Role], zero_at_start: Sequence[bool] = ()) -> None:
        """See :meth:`Combiner.setup`; also raises ``ValueError`` if ``weights`` names an unknown objective."""
        super().setup(names, roles, zero_at_start)
        if unknown := sorted(set(self.weights) - set(names)):
            raise ValueError(f"weights names {unknown}, but the objectives are {list(names)}.")
        self._vector = torch.tensor([self.weights.get(name, 1.0) for name in names], dtype=torch.float64)

    def weigh(self, losses: Tensor) -> Tensor:
        """The weights ``[K]`` from the constructor."""
        return self._vector.clone()
