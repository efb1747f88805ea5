"""Gradient ascent on the cross-entropy of the forget set."""

from torch import Tensor

from unlearn_pl.functional import masked_mean
from unlearn_pl.objectives.base import Objective
from unlearn_pl.types import LanguageView


class GradientAscentLoss(Objective):
    """``log p(y_t | y_<t, x)``, mean over the scored tokens: the negative cross-entropy.

    It is unbounded below, and pulls hardest at tokens that are forgotten already.

    Args:
        stream: overrides ``forget``.

    References:
        Jang et al., Knowledge Unlearning for Mitigating Privacy Risks in Language Models, ACL 2023, arXiv 2210.01504;
        Yao et al., Large Language Model Unlearning, NeurIPS 2024, arXiv 2310.10683.
    """

    stream = "forget"
    role = "forget"

    def loss(self, view: LanguageView) -> Tensor:
        """The mean log-likelihood in nats, ``[]``."""
        return masked_mean(view.logps, view.mask)
