"""Negative preference optimization without a reference model (SimNPO)."""

import math

from torch import Tensor

from unlearn_pl.functional import simnpo_loss
from unlearn_pl.objectives.base import Objective
from unlearn_pl.types import LanguageView, labeled_rows


class SimNPOLoss(Objective):
    """``-2/beta log sigmoid(-beta log p(y|x) / T - beta delta)`` of answers of ``T`` tokens, mean over sequences.

    NPO with the length-normalized log-probability instead of the log-ratio to a reference model. Bounded below by 0.
    Without ``delta`` its gradient is that of ``log p(y|x)`` times ``2 p^(beta/T) / (1 + p^(beta/T)) / T``.

    Args:
        beta: inverse temperature, positive. The paper used 2.5 (forget05) and 4.5 (forget10) on TOFU.
        delta: margin, not negative; the paper's ``gamma`` is ``beta * delta``.
        stream: overrides ``forget``.

    Raises:
        ValueError: if ``beta`` is not positive and finite, or ``delta`` is negative or not finite.

    References:
        Fan et al., Simplicity Prevails: Rethinking Negative Preference Optimization for LLM Unlearning,
        arXiv 2410.07163. The margin is the code's, which multiplies it by ``beta``.
    """

    stream = "forget"
    role = "forget"
    mean_over = "sequences"

    def __init__(self, beta: float = 4.5, delta: float = 0.0, stream: str | None = None) -> None:
        if not 0 < beta < math.inf:
            raise ValueError(f"beta is {beta}, but must be positive and finite.")
        if not 0 <= delta < math.inf:
            raise ValueError(f"delta is {delta}, but must be at least 0 and finite.")
        super().__init__(stream)
        self.beta = beta
        self.delta = delta

    def loss(self, view: LanguageView) -> Tensor:
        """The mean SimNPO loss, ``[]``."""
        scored = labeled_rows(view.mask)
        return simnpo_loss(view.logps.sum(-1)[scored], view.mask.sum(-1)[scored], self.beta, self.delta)
