"""Negative preference optimization (NPO)."""

import math

from torch import Tensor

from unlearn_pl.functional import npo_loss
from unlearn_pl.objectives.base import Objective
from unlearn_pl.types import LanguageView, labeled_rows


class NPOLoss(Objective):
    """``-2/beta log sigmoid(-beta (log p(y|x) - log p_ref(y|x)))``, mean over sequences.

    Bounded below by 0. Its gradient is that of gradient ascent on ``log p(y|x) = sum_t log p(y_t | y_<t, x)`` times
    ``2 p^beta / (p^beta + p_ref^beta)``: 1 at the reference model, vanishing as the answer is forgotten.

    Args:
        beta: inverse temperature, positive. As it goes to 0, the gradient becomes that of ascent on the sum.
        stream: overrides ``forget``.

    Raises:
        ValueError: if ``beta`` is not positive and finite.

    References:
        Zhang et al., Negative Preference Optimization: From Catastrophic Collapse to Effective Unlearning, COLM 2024,
        arXiv 2404.05868. Log-probabilities are sums over tokens; published NPO numbers on MUSE and WMDP come from
        code that applies the formula to logits and to token means.
    """

    stream = "forget"
    role = "forget"
    needs = frozenset({"ref_logps"})
    mean_over = "sequences"

    def __init__(self, beta: float = 0.1, stream: str | None = None) -> None:
        if not 0 < beta < math.inf:
            raise ValueError(f"beta is {beta}, but must be positive and finite.")
        super().__init__(stream)
        self.beta = beta

    def loss(self, view: LanguageView) -> Tensor:
        """The mean NPO loss, ``[]``."""
        assert view.ref_logps is not None
        scored = labeled_rows(view.mask)
        return npo_loss(view.logps.sum(-1)[scored], view.ref_logps.sum(-1)[scored], self.beta)
