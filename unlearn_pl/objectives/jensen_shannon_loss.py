"""Jensen-Shannon divergence from the reference model (the retain side of JensUn)."""

from torch import Tensor

from unlearn_pl.functional import js_divergence
from unlearn_pl.objectives.base import Objective
from unlearn_pl.types import LanguageView


class JensenShannonLoss(Objective):
    """``JS(p_ref, p)`` of the next-token distributions, mean over the scored tokens: keeps the model's behavior.

    Symmetric, bounded in ``[0, log 2]``. Loss and gradient are zero while the model equals the reference model.

    Args:
        stream: overrides ``retain``.

    References:
        Singh et al., Unlearning That Lasts: Utility-Preserving, Robust, and Almost Irreversible Forgetting in LLMs,
        arXiv 2509.02820 (JensUn). The mean runs over scored tokens only, as in the authors' code of 2026-03; before, it
        also averaged over prompts and padding.
    """

    stream = "retain"
    role = "retain"
    needs = frozenset({"logits", "ref_logits"})
    zero_at_reference = True

    def loss(self, view: LanguageView) -> Tensor:
        """The mean divergence in nats, ``[]``."""
        assert view.logits is not None
        assert view.ref_logits is not None
        return js_divergence(view.logits, view.ref_logits, view.mask)
