"""Entropy maximization, in the bounded direction."""

from torch import Tensor

from unlearn_pl.functional import kl_to_uniform
from unlearn_pl.objectives.base import Objective
from unlearn_pl.types import LanguageView


class MaxEntropyLoss(Objective):
    """``KL(p || uniform) = log V - H(p)``, mean over the scored tokens: every token becomes equally likely.

    Bounded in ``[0, log V]``; the gradient vanishes where the model is certain, so memorized tokens start slowly.
    :class:`~unlearn_pl.objectives.UniformKLLoss` takes the other direction.

    Args:
        stream: overrides ``forget``.

    References:
        Yuan et al., A Closer Look at Machine Unlearning for Large Language Models, ICLR 2025, arXiv 2410.08109 (ME).
        Our reading of the name. The authors' code computes the other direction and can also score the question; here
        the labels decide.
    """

    stream = "forget"
    role = "forget"
    needs = frozenset({"logits"})

    def loss(self, view: LanguageView) -> Tensor:
        """The mean missing entropy in nats, ``[]``."""
        assert view.logits is not None
        return kl_to_uniform(view.logits, view.mask)
