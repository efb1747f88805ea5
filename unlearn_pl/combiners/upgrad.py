"""The mean of the gradients after projection on the dual cone (UPGrad)."""

from typing import Unpack

import torch
from torch import Tensor

from unlearn_pl.combiners.gramian_combiner import GramianCombiner
from unlearn_pl.combiners.options import CombinerOptions
from unlearn_pl.functional import dual_cone_projection


class UPGrad(GramianCombiner):
    """``(1/K) sum_k pi(g_k)``, with ``pi`` the projection on the dual cone ``{d: g_j . d >= 0 for all j}``: UPGrad.

    The step increases no active objective, and each gradient changes only where it conflicts with others: without any
    conflict, this is the mean of the gradients. On raw gradients, the contribution of an objective is proportional to
    the length of its gradient, unlike with :class:`DualProj`.

    Args:
        options: see :class:`CombinerOptions`.

    References:
        Quinton & Rey, Jacobian descent for multi-objective optimization, arXiv 2406.16232; equation 3 is the
        projection.
    """

    def __init__(self, **options: Unpack[CombinerOptions]) -> None:
        super().__init__(**options)

    def weigh(self, gramian: Tensor, losses: Tensor) -> Tensor:
        """Mean ``[K]`` of the weights of the K projections."""
        each = torch.eye(len(losses), dtype=torch.float64)
        return torch.stack([dual_cone_projection(gramian, one) for one in each]).mean(dim=0)
