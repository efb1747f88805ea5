"""Inverted hinge loss (LoKU)."""

from torch import Tensor

from unlearn_pl.functional import inverted_hinge_loss
from unlearn_pl.objectives.base import Objective
from unlearn_pl.types import LanguageView


class InvertedHingeLoss(Objective):
    """``1 + p(y_t) - max_{v != y_t} p(v)``, mean over the scored tokens: another token takes the label's place.

    Bounded in ``[0, 2]``. Its gradient lowers the label and raises the most likely other token, while that of gradient
    ascent raises all others; where the label is unlikely it vanishes.

    Args:
        stream: overrides ``forget``.

    References:
        Cha et al., Towards Robust and Parameter-Efficient Knowledge Unlearning for LLMs (LoKU), ICLR 2025,
        arXiv 2408.06621. The start of its adapters is made by :class:`~unlearn_pl.attribution.FisherRatio`.
    """

    stream = "forget"
    role = "forget"
    needs = frozenset({"logits"})

    def loss(self, view: LanguageView) -> Tensor:
        """The mean inverted hinge, ``[]``."""
        assert view.logits is not None
        return inverted_hinge_loss(view.logits, view.labels, view.mask)
