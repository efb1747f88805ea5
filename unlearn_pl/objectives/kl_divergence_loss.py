"""KL divergence from the reference model."""

from torch import Tensor

from unlearn_pl.functional import kl_divergence
from unlearn_pl.objectives.base import Objective
from unlearn_pl.types import LanguageView


class KLDivergenceLoss(Objective):
    """``KL(p_ref || p)`` of the next-token distributions, mean over the scored tokens: keeps the model's behavior.

    Loss and gradient are zero while the model equals the reference model.

    Args:
        stream: overrides ``retain``.

    References:
        Yao et al., Large Language Model Unlearning, NeurIPS 2024, arXiv 2310.10683;
        Maini et al., TOFU, COLM 2024, arXiv 2401.06121 (KL minimization).
    """

    stream = "retain"
    role = "retain"
    needs = frozenset({"logits", "ref_logits"})
    zero_at_reference = True

    def loss(self, view: LanguageView) -> Tensor:
        """The mean divergence in nats, ``[]``."""
        assert view.logits is not None
        assert view.ref_logits is not None
        return kl_divergence(view.logits, view.ref_logits, view.mask)
