"""Self-distillation from lowered logits (UNDIAL)."""

import math

from torch import Tensor

from unlearn_pl.functional import undial_loss
from unlearn_pl.objectives.base import Objective
from unlearn_pl.types import LanguageView


class UNDIALLoss(Objective):
    """``-sum_v q(v) log p(v)`` with ``q = softmax(ref_logits - beta * one-hot(label))``, mean over the scored tokens.

    The teacher is the original model with the label's logit lowered by ``beta``: what it would say instead. The
    gradient by the logits is ``p - q``, so that training ends where the student says so, too.

    Args:
        beta: how much the label's logit is lowered.
        stream: overrides ``forget``.

    Raises:
        ValueError: if ``beta`` is not positive and finite.

    References:
        Dong et al., UNDIAL: Self-Distillation with Adjusted Logits for Robust Unlearning in Large Language Models,
        NAACL 2025, arXiv 2402.10052. The mean runs over scored tokens only; OpenUnlearning distils prompts and
        padding, too.
    """

    stream = "forget"
    role = "forget"
    needs = frozenset({"logits", "ref_logits"})

    def __init__(self, beta: float = 10.0, stream: str | None = None) -> None:
        super().__init__(stream)
        if not 0 < beta < math.inf:
            raise ValueError(f"beta is {beta}, but must be positive and finite.")
        self.beta = beta

    def loss(self, view: LanguageView) -> Tensor:
        """The mean cross-entropy with the teacher in nats, ``[]``."""
        assert view.logits is not None
        assert view.ref_logits is not None
        return undial_loss(view.logits, view.ref_logits, view.labels, view.mask, self.beta)
