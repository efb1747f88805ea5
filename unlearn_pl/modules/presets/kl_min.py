"""KL minimization: ascent on the forget answers, KL to the reference model on the retain answers."""

from typing import Unpack

from unlearn_pl.combiners import Combiner, Scalarization
from unlearn_pl.models import ModelLike
from unlearn_pl.modules.kind_losses import losses_of
from unlearn_pl.modules.options import ModuleOptions
from unlearn_pl.modules.unlearning import UnlearningModule
from unlearn_pl.references import FrozenReference, Reference


class KLMin(UnlearningModule):
    """KL minimization: minimize ``-forget_weight * NLL(forget) + retain_weight * KL(reference || model)(retain)``.

    Args:
        model: what to unlearn from.
        forget_weight: weight of the forget loss.
        retain_weight: weight of the retain loss.
        combiner: replaces the weighted sum; the two weights are then not used.
        reference: the reference model; by default (None) a frozen copy of the model.
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
        reference: Reference | None = None,
        **options: Unpack[ModuleOptions],
    ) -> None:
        losses = losses_of(model)
        objectives = {"forget": losses.ascend(), "retain": losses.keep()}
        weighted = Scalarization({"forget": forget_weight, "retain": retain_weight})
        super().__init__(model, objectives, combiner or weighted, reference or FrozenReference(), **options)
