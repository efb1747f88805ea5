"""Direct preference optimization of the alternate answer over the forget answer (DPO)."""

import math

from torch import Tensor

from unlearn_pl.functional import dpo_loss
from unlearn_pl.objectives.base import Objective
from unlearn_pl.types import LanguageView, labeled_rows


class DPOLoss(Objective):
    """``-2/beta log sigmoid(beta (log p_a/p_ref,a - log p_f/p_ref,f))``, mean over pairs: prefers the alternate answer.

    ``p_a`` is the probability of the alternate answer (a refusal, or one with other facts), ``p_f`` that of the
    forget answer; log-probabilities are sums over tokens. With model-written alternates, this is AltPO's forget loss.

    Args:
        beta: inverse temperature, positive.
        alternate: stream of the preferred answers.
        forget: stream of the forget answers, with the same examples in the same order.

    Raises:
        ValueError: if ``beta`` is not positive and finite.

    References:
        Rafailov et al., Direct Preference Optimization, NeurIPS 2023, arXiv 2305.18290, equation 7;
        Zhang et al., Negative Preference Optimization, COLM 2024, arXiv 2404.05868, whose code has the factor 2/beta.
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
        """The mean DPO loss of the pairs whose alternate answer has labels, ``[]``."""
        assert alternate.ref_logps is not None
        assert forget.ref_logps is not None
        scored = labeled_rows(alternate.mask)
        chosen, ref_chosen = alternate.logps.sum(-1)[scored], alternate.ref_logps.sum(-1)[scored]
        rejected, ref_rejected = forget.logps.sum(-1)[scored], forget.ref_logps.sum(-1)[scored]
        return dpo_loss(chosen, ref_chosen, rejected, ref_rejected, self.beta)
