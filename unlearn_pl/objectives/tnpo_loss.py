"""Token-wise negative preference optimization (TNPO)."""

import math

from torch import Tensor

from unlearn_pl.functional import tnpo_loss
from unlearn_pl.objectives.base import Objective
from unlearn_pl.types import LanguageView


class TNPOLoss(Objective):
    """``-2/beta log sigmoid(-beta (log p - log p_ref))`` of ``p = p(y_t | y_<t, x)``, mean over the scored tokens.

    Its gradient is that of gradient ascent times ``2 p^beta / (p^beta + p_ref^beta)``, token by token: tokens that
    are forgotten already stop pulling, while the others of the same answer keep pulling.

    Args:
        beta: inverse temperature, positive. 4 by default, as in the authors' runs: a token has far smaller
            log-ratios than a whole answer, for which NPO takes 0.1.
        stream: overrides ``forget``.

    Raises:
        ValueError: if ``beta`` is not positive and finite.

    References:
        Wang et al., Rethinking LLM Unlearning Objectives: A Gradient Perspective and Go Beyond, ICLR 2025,
        arXiv 2502.19301. The code's loss is ``log p`` times the weight above, held constant (and 1e-5 added to its
        denominator): another value with the same gradient.
    """

    stream = "forget"
    role = "forget"
    needs = frozenset({"ref_logps"})

    def __init__(self, beta: float = 4.0, stream: str | None = None) -> None:
        if not 0 < beta < math.inf:
            raise ValueError(f"beta is {beta}, but must be positive and finite.")
        super().__init__(stream)
        self.beta = beta

    def loss(self, view: LanguageView) -> Tensor:
        """The mean token-wise NPO loss, ``[]``."""
        assert view.ref_logps is not None
        return tnpo_loss(view.logps, view.ref_logps, view.mask, self.beta)
