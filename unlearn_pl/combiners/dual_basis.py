"""The mean of the dual basis of the gradients (our reading of DS-MGDA)."""

from torch import Tensor

from unlearn_pl.combiners.base import Combiner
from unlearn_pl.combiners.normalization import NormalizationKind
from unlearn_pl.functional import dual_basis_weights


class DualBasis(Combiner):
    """The mean of the gradients' dual vectors: each is what is left of ``g_k`` orthogonal to all other gradients.

    The step descends every live objective strictly unless gradients are linearly dependent, and moves along each dual
    vector without changing any other objective to first order. Weights may be negative.

    Args:
        unit: average unit dual vectors rather than the dual vectors as they are.
        normalization: as in :class:`Combiner`, like the rest; it makes no difference to unit dual vectors but for the
            length of the step.
        norm_decay: decay of the average norm of ``ema``.
        norm_floor: least fraction of the largest norm so far.
        min_relative_norm: gradients shorter than this fraction of the longest are left out.
        satisfied: threshold, or thresholds by name, below which an objective is left out.
        satisfied_decay: decay of the moving average of the losses.
        noise_factor: multiple of the first norm up to which an objective that starts at zero is left out.

    References:
        Pan et al., MOLLM, ICASSP 2025, arXiv 2412.20412: our reading of its dual space MGDA (DS-MGDA).
    """

    def __init__(
        self,
        unit: bool = True,
        *,
        normalization: NormalizationKind = "l2",
        norm_decay: float = 0.9,
        norm_floor: float = 0.0,
        min_relative_norm: float = 1e-6,
        satisfied: float | dict[str, float] | None = None,
        satisfied_decay: float = 0.9,
        noise_factor: float = 2.0,
    ) -> None:
        super().__init__(
            normalization=normalization,
            norm_decay=norm_decay,
            norm_floor=norm_floor,
            min_relative_norm=min_relative_norm,
            satisfied=satisfied,
            satisfied_decay=satisfied_decay,
            noise_factor=noise_factor,
        )
        self.unit = unit

    def weigh(self, gramian: Tensor, losses: Tensor) -> Tensor:
        """Weights of the mean dual vector."""
        return dual_basis_weights(gramian, self.unit)
