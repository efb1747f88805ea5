"""Gradient ascent weighted by saturation and importance of every token (SatImp)."""

import math

from torch import Tensor

from unlearn_pl.functional import satimp_loss
from unlearn_pl.objectives.base import Objective
from unlearn_pl.types import LanguageView


class SatImpLoss(Objective):
    """``[p^beta1 (1 - p)^beta2] log p`` of ``p = p(y_t | y_<t, x)``, ``[.]`` constant, mean over the scored tokens.

    Its gradient is that of gradient ascent times the weight in brackets, which is largest at
    ``p = beta1 / (beta1 + beta2)``: tokens that are forgotten, or that any model would guess, pull little.

    Args:
        beta1: exponent of saturation, at least 0; with ``beta2 = 0`` the loss is that of WGA.
        beta2: exponent of importance, at least 0.
        stream: overrides ``forget``.

    Raises:
        ValueError: if an exponent is negative or not finite.

    References:
        Yang et al., Exploring Criteria of Loss Reweighting to Enhance LLM Unlearning, ICML 2025, arXiv 2505.11953,
        section 5. The exponents are those of the authors' revision for OpenUnlearning (2026-05); their first version
        had 5 and 1.
    """

    stream = "forget"
    role = "forget"

    def __init__(self, beta1: float = 5.0, beta2: float = 0.1, stream: str | None = None) -> None:
        for name, beta in {"beta1": beta1, "beta2": beta2}.items():
            if not 0 <= beta < math.inf:
                raise ValueError(f"{name} is {beta}, but must be at least 0 and finite.")
        super().__init__(stream)
        self.beta1 = beta1
        self.beta2 = beta2

    def loss(self, view: LanguageView) -> Tensor:
        """The mean weighted log-likelihood, ``[]``."""
        return satimp_loss(view.logps, view.mask, self.beta1, self.beta2)
