"""Self-distillation with the label at chance (Unilogit)."""

from torch import Tensor

from unlearn_pl.functional import unilogit_loss
from unlearn_pl.objectives.base import Objective
from unlearn_pl.types import LanguageView


class UnilogitLoss(Objective):
    """``-sum_v q(v) log p(v)``, ``q`` the model's own distribution with the label at ``1 / V``, mean over the tokens.

    Like :class:`~unlearn_pl.objectives.UNDIALLoss`, with the trained model as its teacher at every step, and a logit
    that is lowered as far as it takes: no reference model, and nothing to tune.

    Args:
        stream: overrides ``forget``.

    References:
        Vasilev et al., Unilogit: Robust Machine Unlearning for LLMs Using Uniform-Target Self-Distillation, Findings of
        ACL 2025, arXiv 2505.06027.
    """

    stream = "forget"
    role = "forget"
    needs = frozenset({"logits"})

    def loss(self, view: LanguageView) -> Tensor:
        """The mean cross-entropy with the teacher in nats, ``[]``."""
        assert view.logits is not None
        return unilogit_loss(view.logits, view.labels, view.mask)
