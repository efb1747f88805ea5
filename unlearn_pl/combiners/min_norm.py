"""The shortest convex combination of the gradients (MGDA)."""

from collections.abc import Sequence
from typing import Any, Unpack

import torch
from torch import Tensor

from unlearn_pl.combiners.gramian_combiner import GramianCombiner
from unlearn_pl.combiners.options import CombinerOptions
from unlearn_pl.functional import min_norm_weights
from unlearn_pl.functional.moving_average import MovingAverage
from unlearn_pl.types import Role


class MinNorm(GramianCombiner):
    """``argmin_lambda |sum_k lambda_k g_k / n_k|^2`` over the simplex, solved exactly: MGDA.

    The step descends every active objective: those with a positive weight equally steeply in units of their ``n_k``,
    the others more steeply. With ``l2``, only directions count, and the scale of a loss gives no advantage. On raw
    gradients (``none``), the shortest, that of a nearly converged objective, takes nearly all the weight.

    Weights from a small batch are noisy, and biased toward objectives whose gradient is short by chance. With
    ``weight_ema``, the step follows a moving average of ``lambda``, renormalized over the active objectives. It is then
    no longer guaranteed to descend every objective.

    Args:
        weight_ema: decay of the average of ``lambda``, in ``[0, 1)``; 0 for none.
        options: see :class:`CombinerOptions`.

    Raises:
        ValueError: if ``weight_ema`` is outside ``[0, 1)``.

    Example:
        >>> import torch
        >>> combiner = MinNorm()
        >>> combiner.setup(["forget", "retain"], ["forget", "retain"])
        >>> combiner(torch.tensor([[9.0, 0.0], [0.0, 1.0]]), torch.ones(2))
        tensor([0.3333, 1.0000], dtype=torch.float64)

    References:
        Désidéri, Multiple-gradient descent algorithm (MGDA) for multiobjective optimization, C. R. Math. 2012;
        Sener & Koltun, Multi-Task Learning as Multi-Objective Optimization, NeurIPS 2018, arXiv 1810.04650;
        Zhou et al., On the convergence of stochastic multi-objective gradient manipulation and beyond, NeurIPS 2022
        (CR-MOGM), for ``weight_ema``, here with the bias correction of Adam in place of an initial ``lambda``.
    """

    def __init__(self, weight_ema: float = 0.0, **options: Unpack[CombinerOptions]) -> None:
        super().__init__(**options)
        if not 0 <= weight_ema < 1:
            raise ValueError(f"weight_ema is {weight_ema}, but must be in [0, 1).")
        self.weight_ema = weight_ema
        self._averages: list[MovingAverage] = []

    def setup(self, names: Sequence[str], roles: Sequence[Role], zero_at_start: Sequence[bool] = ()) -> None:
        """See :meth:`Combiner.setup`; also resets the averages."""
        super().setup(names, roles, zero_at_start)
        self._averages = []

    def weigh(self, gramian: Tensor, losses: Tensor) -> Tensor:
        """Weights ``[K]`` of the minimum-norm point, or their average over steps."""
        weights = min_norm_weights(gramian)
        return self._smooth(weights) if self.weight_ema else weights

    def _smooth(self, weights: Tensor) -> Tensor:
        while len(self._averages) <= self.block:
            self._averages.append(MovingAverage(self.weight_ema))
        all_weights = torch.zeros(len(self.members), dtype=torch.float64).masked_scatter(self.members, weights)
        average = self._averages[self.block].update(all_weights, where=self.members)[self.members]
        return average / average.sum()

    def state_dict(self) -> dict[str, Any]:
        """See :meth:`Combiner.state_dict`; includes the average of every block."""
        return super().state_dict() | {"averages": [average.state_dict() for average in self._averages]}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """See :meth:`Combiner.load_state_dict`."""
        super().load_state_dict(state)
        self._averages = [MovingAverage(self.weight_ema) for _ in state["averages"]]
        for average, kept in zip(self._averages, state["averages"], strict=True):
            average.load_state_dict(kept)
