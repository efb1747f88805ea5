"""The mean of the dual basis of the gradients (our reading of DS-MGDA)."""

from typing import Unpack

from torch import Tensor

from unlearn_pl.combiners.gramian_combiner import GramianCombiner
from unlearn_pl.combiners.options import CombinerOptions
from unlearn_pl.functional import dual_basis_weights


class DualBasis(GramianCombiner):
    """The mean of the gradients' dual vectors: each is the component of ``g_k`` orthogonal to all other gradients.

    The step descends every active objective strictly unless gradients are linearly dependent, and moves along each dual
    vector without changing any other objective to first order. Weights may be negative.

    Args:
        unit: average unit dual vectors instead of the unscaled ones.
        options: see :class:`CombinerOptions`. With unit dual vectors, the normalization affects only the length of the
            step.

    References:
        Pan et al., MOLLM, ICASSP 2025, arXiv 2412.20412: our reading of its dual space MGDA (DS-MGDA).
    """

    def __init__(self, unit: bool = True, **options: Unpack[CombinerOptions]) -> None:
        super().__init__(**options)
        self.unit = unit

    def weigh(self, gramian: Tensor, losses: Tensor) -> Tensor:
        """Weights ``[K]`` of the mean dual vector."""
        return dual_basis_weights(gramian, self.unit)
