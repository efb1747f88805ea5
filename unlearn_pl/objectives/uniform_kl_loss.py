"""KL divergence of the uniform distribution from the model (ME)."""

from torch import Tensor

from unlearn_pl.functional import kl_from_uniform
from unlearn_pl.objectives.base import Objective
from unlearn_pl.types import LanguageView


class UniformKLLoss(Objective):
    """``KL(uniform || p) = -log V - mean_v log p(v)``, mean over the scored tokens: ME as its authors code it.

    Its gradient with respect to the logits is ``p - 1/V``, strongest where the model is certain, and it is unbounded:
    tokens that are all but impossible must become likely. :class:`~unlearn_pl.objectives.MaxEntropyLoss` takes the
    other direction.

    Args:
        stream: overrides ``forget``.

    References:
        Yuan et al., A Closer Look at Machine Unlearning for Large Language Models, ICLR 2025, arXiv 2410.08109 (ME):
        the authors' code, which adds 1e-12 to the probabilities and can also score the question. The 1e-12 matters
        for large logits: of tokens more than about 28 below the largest one, it hides how far they are, so that their
        loss stays below ``27.6 - log V`` and no longer raises them, where ours keeps growing.
    """

    stream = "forget"
    role = "forget"
    needs = frozenset({"logits"})

    def loss(self, view: LanguageView) -> Tensor:
        """The mean divergence in nats, ``[]``."""
        assert view.logits is not None
        return kl_from_uniform(view.logits, view.mask)
