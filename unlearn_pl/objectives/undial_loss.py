"""Self-distillation from adjusted logits (UNDIAL)."""

import math

from torch import Tensor

from unlearn_pl.functional import undial_loss
from unlearn_pl.objectives.base import Objective
from unlearn_pl.types import LanguageView


class UNDIALLoss(Objective):
    """``-sum_v q(v) log p(v)`` with ``q = softmax(ref_logits - beta * one-hot(label))``, mean over the scored tokens.

    The teacher is the reference model with the label's logit lowered by ``beta``. The gradient with respect to the
    logits is ``p - q``, which vanishes where the student matches the teacher.

    Args:
        beta: amount by which the label's logit is lowered.
        stream: overrides ``forget``.

    Raises:
        ValueError: if ``beta`` is not positive and finite.

    References:
        Dong et al., UNDIAL: Self-Distillation with Adjusted Logits for Robust Unlearning in Large Language Models,
        NAACL 2025, arXiv 2402.10052. The mean runs over scored tokens only; the authors' code and OpenUnlearning also
        distill prompts and padding. The authors' code lowers by 5 by default, can weight tokens of a focus, and takes
        as its teacher any model with the same vocabulary; ours is the reference model, as in the paper.
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
