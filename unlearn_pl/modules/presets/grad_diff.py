"""Gradient difference: ascent on the forget answers, descent on the retain answers."""

from typing import Unpack

from unlearn_pl.combiners import Combiner, Scalarization
from unlearn_pl.models import ModelLike
from unlearn_pl.modules.kind_losses import losses_of
from unlearn_pl.modules.options import ModuleOptions
from unlearn_pl.modules.unlearning import UnlearningModule


class GradDiff(UnlearningModule):
    """Gradient difference: minimize ``-forget_weight * NLL(forget) + retain_weight * NLL(retain)``.

    Args:
        model: what to unlearn from.
        forget_weight: weight of the ascent.
        retain_weight: weight of the descent.
        combiner: replaces the weighted sum; the two weights are then not used.
        options: see :class:`~unlearn_pl.modules.ModuleOptions`.

    References:
        Maini et al., TOFU: a task of fictitious unlearning for LLMs, arXiv 2401.06121, section 3.
    """

    def __init__(
        self,
        model: ModelLike,
        forget_weight: float = 1.0,
        retain_weight: float = 1.0,
        combiner: Combiner | None = None,
        **options: Unpack[ModuleOptions],
    ) -> None:
        losses = losses_of(model)
        objectives = {"forget": losses.ascend(), "retain": losses.learn()}
        weighted = Scalarization({"forget": forget_weight, "retain": retain_weight})
        super().__init__(model, objectives, combiner or weighted, **options)
