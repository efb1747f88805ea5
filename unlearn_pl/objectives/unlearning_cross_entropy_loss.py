"""Unlearning cross-entropy, a bounded loss that forgets by descent (UCE)."""

from torch import Tensor

from unlearn_pl.functional import uce_loss
from unlearn_pl.objectives.base import Objective
from unlearn_pl.types import LanguageView


class UnlearningCrossEntropyLoss(Objective):
    """``-log(1 - p(y_t | y_<t, x) / 2)``, mean over the scored tokens: cross-entropy with the probability inverted.

    Bounded in ``[0, log 2]`` per token. Its gradient is ``p / (2 - p)`` times that of gradient ascent and vanishes as
    the token is forgotten, so it cannot explode.

    Args:
        stream: overrides ``forget``.

    References:
        Pan et al., Federated Unlearning with Gradient Descent and Conflict Mitigation, AAAI 2025, arXiv 2412.20200;
        Pan et al., MOLLM, ICASSP 2025, arXiv 2412.20412, which uses the loss of that name for language models.
    """

    stream = "forget"
    role = "forget"

    def loss(self, view: LanguageView) -> Tensor:
        """The mean unlearning cross-entropy, ``[]``."""
        return uce_loss(view.logps, view.mask)
