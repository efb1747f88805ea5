"""Negative preference optimization."""

from typing import Unpack

from unlearn_pl.combiners import Combiner, Scalarization
from unlearn_pl.models import ModelLike
from unlearn_pl.modules.options import ModuleOptions
from unlearn_pl.modules.unlearning import UnlearningModule
from unlearn_pl.objectives import CausalLMLoss, NPOLoss
from unlearn_pl.references import FrozenReference, Reference


class NPO(UnlearningModule):
    """NPO with a retain loss: minimize ``forget_weight * NPO(forget) + retain_weight * NLL(retain)``.

    Args:
        model: what to unlearn from.
        beta: inverse temperature; small values come close to gradient ascent.
        forget_weight: weight of the forget loss.
        retain_weight: weight of the retain loss.
        combiner: replaces the weighted sum; the two weights are then not used.
        reference: the reference model; by default (None) a frozen copy of the model. ``CachedReference()`` has none.
        options: see :class:`~unlearn_pl.modules.ModuleOptions`.

    References:
        Zhang et al., Negative preference optimization, COLM 2024, arXiv 2404.05868 (NPO+RT).
    """

    def __init__(
        self,
        model: ModelLike,
        beta: float = 0.1,
        forget_weight: float = 1.0,
        retain_weight: float = 1.0,
        combiner: Combiner | None = None,
        reference: Reference | None = None,
        **options: Unpack[ModuleOptions],
    ) -> None:
        objectives = {"forget": NPOLoss(beta), "retain": CausalLMLoss()}
        weighted = Scalarization({"forget": forget_weight, "retain": retain_weight})
        super().__init__(model, objectives, combiner or weighted, reference or FrozenReference(), **options)
