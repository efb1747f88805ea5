"""The shortest convex combination of the gradients (MGDA)."""

from torch import Tensor

from unlearn_pl.combiners.base import Combiner
from unlearn_pl.functional import min_norm_weights


class MinNorm(Combiner):
    """``argmin_lambda |sum_k lambda_k g_k / n_k|^2`` over the simplex, solved exactly: MGDA.

    The step descends every live objective: those with a positive weight equally steeply in units of their ``n_k``, the
    others more. With ``l2``, only directions count, and no objective gains by the scale of its loss. On raw gradients
    (``none``) the shortest, which is that of an objective nearly reached, takes nearly all the weight.

    The arguments are those of :class:`Combiner`.

    Example:
        >>> import torch
        >>> combiner = MinNorm()
        >>> combiner.setup(["forget", "retain"], ["forget", "retain"])
        >>> combiner(torch.tensor([[9.0, 0.0], [0.0, 1.0]]), torch.ones(2))
        tensor([0.3333, 1.0000], dtype=torch.float64)

    References:
        Désidéri, Multiple-gradient descent algorithm (MGDA) for multiobjective optimization, C. R. Math. 2012;
        Sener & Koltun, Multi-Task Learning as Multi-Objective Optimization, NeurIPS 2018, arXiv 1810.04650.
    """

    def weigh(self, gramian: Tensor, losses: Tensor) -> Tensor:
        """Weights of the minimum-norm point."""
        return min_norm_weights(gramian)
