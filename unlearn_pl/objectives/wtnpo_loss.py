"""Weighted token-wise negative preference optimization (WTNPO)."""

import math

from torch import Tensor

from unlearn_pl.functional import wtnpo_loss
from unlearn_pl.objectives.base import Objective
from unlearn_pl.types import LanguageView


class WTNPOLoss(Objective):
    """``[2 p^(beta + alpha) / (p^beta + p_ref^beta)] log p``, with ``[.]`` constant; mean over the scored tokens.

    :class:`TNPOLoss` stops pulling at a token once it is far less likely than under the reference model; the factor
    ``p^alpha``, that of :class:`WGALoss`, stops at tokens that are unlikely in any case.

    Args:
        beta: inverse temperature of the comparison with the reference model, positive. 0.1 as in the authors' code.
        alpha: how fast a token stops pulling as it is forgotten, not negative; 0 has the gradient of
            :class:`TNPOLoss`. The authors search it.
        stream: overrides ``forget``.

    Raises:
        ValueError: if ``beta`` is not positive and finite, or ``alpha`` is negative or not finite.

    References:
        Wang et al., Rethinking LLM Unlearning Objectives: A Gradient Perspective and Go Beyond, ICLR 2025,
        arXiv 2502.19301. The code adds 1e-5 to the denominator of the weight.
    """

    stream = "forget"
    role = "forget"
    needs = frozenset({"ref_logps"})

    def __init__(self, beta: float = 0.1, alpha: float = 1.0, stream: str | None = None) -> None:
        if not 0 < beta < math.inf:
            raise ValueError(f"beta is {beta}, but must be positive and finite.")
        if not 0 <= alpha < math.inf:
            raise ValueError(f"alpha is {alpha}, but must not be negative, and be finite.")
        super().__init__(stream)
        self.beta = beta
        self.alpha = alpha

    def loss(self, view: LanguageView) -> Tensor:
        """The mean weighted log-probability, ``[]``."""
        assert view.ref_logps is not None
        return wtnpo_loss(view.logps, view.ref_logps, view.mask, self.beta, self.alpha)
