"""Jensen-Shannon divergence from a refusal (the forget side of JensUn)."""

from torch import Tensor

from unlearn_pl.functional import one_hot_js_divergence
from unlearn_pl.objectives.base import Objective
from unlearn_pl.types import LanguageView


class RefusalJensenShannonLoss(Objective):
    """``JS(p, one-hot at the refusal's token)``, mean over the refusal's tokens: learns to refuse.

    In closed form ``log 2 + (p log p - (1 + p) log(1 + p)) / 2`` of the token's probability. Bounded in ``[0, log 2]``;
    the gradient vanishes where a refusal is still impossible, so early steps are small.

    Args:
        stream: overrides ``forget.alternate``.

    References:
        Singh et al., Unlearning That Lasts: Utility-Preserving, Robust, and Almost Irreversible Forgetting in LLMs,
        arXiv 2509.02820 (JensUn). Our reading: position t of the refusal has token t as its target. The authors'
        code reads the forget answer instead, and gives every position, prompt and padding included, the same target,
        the sum of the one-hot vectors of the refusal's tokens.
    """

    stream = "forget.alternate"
    role = "forget"

    @property
    def progress_rises(self) -> bool:
        """True: progress is the probability of the refusals."""
        return True

    def loss(self, view: LanguageView) -> Tensor:
        """The mean divergence in nats, ``[]``."""
        return one_hot_js_divergence(view.logps, view.mask)
