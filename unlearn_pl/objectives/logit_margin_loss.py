"""Squared margin between the largest and the mean logit (PDU)."""

from torch import Tensor

from unlearn_pl.functional import logit_margin_loss
from unlearn_pl.objectives.base import Objective
from unlearn_pl.types import LanguageView


class LogitMarginLoss(Objective):
    """``(max_v z(v) - mean_v z(v))^2`` of the logits ``z``, mean over the scored tokens: flattens them.

    It needs no softmax, and unlike that of entropy, its gradient does not vanish where the model is certain.

    Args:
        stream: overrides ``forget``.

    References:
        Entesari et al., Constrained Entropic Unlearning: A Primal-Dual Framework for Large Language Models,
        NeurIPS 2025, arXiv 2506.05314. The code in OpenUnlearning applies the mask of the labels unshifted, one token
        too late; here position t is the one that predicts label t.
    """

    stream = "forget"
    role = "forget"
    needs = frozenset({"logits"})

    def loss(self, view: LanguageView) -> Tensor:
        """The mean squared margin, ``[]``."""
        assert view.logits is not None
        return logit_margin_loss(view.logits, view.mask)
