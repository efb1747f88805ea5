"""Weighted gradient ascent."""

from typing import Unpack

from unlearn_pl.combiners import Combiner, Scalarization
from unlearn_pl.models import ModelLike
from unlearn_pl.modules.options import ModuleOptions
from unlearn_pl.modules.unlearning import UnlearningModule
from unlearn_pl.objectives import CausalLMLoss, WGALoss


class WGA(UnlearningModule):
    """WGA with a retain loss: minimize ``forget_weight * [p^beta] log p (forget) + retain_weight * NLL(retain)``.

    Args:
        model: what to unlearn from.
        beta: how fast tokens that are forgotten stop pulling; 0 is gradient ascent.
        forget_weight: weight of the forget loss.
        retain_weight: weight of the retain loss.
        combiner: replaces the weighted sum; the two weights are then not used.
        options: see :class:`~unlearn_pl.modules.ModuleOptions`.

    References:
        Wang et al., Rethinking LLM unlearning objectives, ICLR 2025, arXiv 2502.19301.
    """

    def __init__(
        self,
        model: ModelLike,
        beta: float = 1.0,
        forget_weight: float = 1.0,
        retain_weight: float = 1.0,
        combiner: Combiner | None = None,
        **options: Unpack[ModuleOptions],
    ) -> None:
        objectives = {"forget": WGALoss(beta), "retain": CausalLMLoss()}
        weighted = Scalarization({"forget": forget_weight, "retain": retain_weight})
        super().__init__(model, objectives, combiner or weighted, **options)
