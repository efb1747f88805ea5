"""Kahneman-Tversky optimization with refusals as the reference point (KTO)."""

import math

from torch import Tensor

from unlearn_pl.functional import kto_loss
from unlearn_pl.objectives.base import Objective
from unlearn_pl.types import LanguageView, labeled_rows


class KTOLoss(Objective):
    """``1 - 2/beta log sigmoid(z - beta (log p_f - log p_ref,f))`` with ``z = log p_a - log p_ref,a``, mean over pairs.

    ``p_f`` is the probability of the forget answer and ``p_a`` that of the alternate answer to the same question; both
    log-probabilities are sums over tokens, and no gradient flows into the reference point ``z``. The gradient is
    that of ``log p_f`` times ``2 sigmoid(beta (log p_f - log p_ref,f) - z)``.

    Args:
        beta: inverse temperature, positive.
        alternate: stream of the alternate answers.
        forget: stream of the forget answers, with the same examples in the same order.

    Raises:
        ValueError: if ``beta`` is not positive and finite.

    References:
        Ethayarajh et al., KTO: Model Alignment as Prospect Theoretic Optimization, ICML 2024, arXiv 2402.01306;
        Zhang et al., Negative Preference Optimization, COLM 2024, arXiv 2404.05868, whose code has this form: with
        a logarithm, ``z`` not multiplied by ``beta`` and not clamped at 0. Simplified: the code averages ``z`` over
        the micro-batch. Here every example has its own, so that the micro-batch size does not change the gradient.
    """

    stream = ("forget.alternate", "forget")
    role = "forget"
    needs = frozenset({"ref_logps"})
    mean_over = "sequences"

    def __init__(self, beta: float = 0.1, alternate: str = "forget.alternate", forget: str = "forget") -> None:
        if not 0 < beta < math.inf:
            raise ValueError(f"beta is {beta}, but must be positive and finite.")
        super().__init__()
        self.beta = beta
        self.stream = (alternate, forget)

    def loss(self, alternate: LanguageView, forget: LanguageView) -> Tensor:
        """The mean KTO loss of the pairs whose alternate answer has labels, ``[]``."""
        assert alternate.ref_logps is not None
        assert forget.ref_logps is not None
        scored = labeled_rows(alternate.mask)
        reference_point = (alternate.logps - alternate.ref_logps).sum(-1)[scored]
        return kto_loss(forget.logps.sum(-1)[scored], forget.ref_logps.sum(-1)[scored], reference_point, self.beta)
