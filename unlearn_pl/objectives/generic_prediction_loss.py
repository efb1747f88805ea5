"""Distillation of what a model would say that never read the forget set (Who's Harry Potter)."""

from torch import Tensor

from unlearn_pl.functional import kl_divergence
from unlearn_pl.objectives.base import Objective
from unlearn_pl.types import LanguageView


class GenericPredictionLoss(Objective):
    """``KL(p_generic || p)``, mean over the scored tokens of the forget set; needs ``ReinforcedReference``.

    Its gradient is that of the cross-entropy with the generic predictions as labels. There is nothing to ascend: the
    loss is bounded below by 0, where the model says what the generic one would.

    Args:
        stream: overrides ``forget``.

    References:
        Eldan & Russinovich, Who's Harry Potter? Approximate Unlearning in LLMs, 2023, arXiv 2310.02238, whose labels
        are the generic predictions' most likely tokens; here they are the whole distribution.
    """

    stream = "forget"
    role = "forget"
    needs = frozenset({"logits", "ref_logits"})

    def loss(self, view: LanguageView) -> Tensor:
        """The mean divergence in nats, ``[]``."""
        assert view.logits is not None
        assert view.ref_logits is not None
        return kl_divergence(view.logits, view.ref_logits, view.mask)
