"""Gradient ascent weighted by the probability of every token (WGA)."""

import math

from torch import Tensor

from unlearn_pl.functional import wga_loss
from unlearn_pl.objectives.base import Objective
from unlearn_pl.types import LanguageView


class WGALoss(Objective):
    """``[p^beta] log p`` of ``p = p(y_t | y_<t, x)``, ``[.]`` held constant, mean over the scored tokens.

    Its gradient is that of gradient ascent times ``p^beta``, which removes ascent's pull on forgotten tokens. The
    value rises again once ``p < exp(-1/beta)``, so it says little about progress.

    Args:
        beta: how fast a token stops pulling, at least 0; 0 is gradient ascent.
        stream: overrides ``forget``.

    Raises:
        ValueError: if ``beta`` is negative or not finite.

    References:
        Wang et al., Rethinking LLM Unlearning Objectives: A Gradient Perspective and Go Beyond, ICLR 2025,
        arXiv 2502.19301.
    """

    stream = "forget"
    role = "forget"

    def __init__(self, beta: float = 1.0, stream: str | None = None) -> None:
        if not 0 <= beta < math.inf:
            raise ValueError(f"beta is {beta}, but must be at least 0 and finite.")
        super().__init__(stream)
        self.beta = beta

    def loss(self, view: LanguageView) -> Tensor:
        """The mean weighted log-likelihood, ``[]``."""
        return wga_loss(view.logps, view.mask, self.beta)
