"""UNDIAL: self-distillation with the forget tokens' logits lowered."""

from typing import Unpack

from unlearn_pl.combiners import Combiner, Scalarization
from unlearn_pl.models import ModelLike
from unlearn_pl.modules.options import ModuleOptions
from unlearn_pl.modules.unlearning import UnlearningModule
from unlearn_pl.objectives import CausalLMLoss, Objective, UNDIALLoss
from unlearn_pl.references import FrozenReference, Reference


class UNDIAL(UnlearningModule):
    """UNDIAL: distill the reference model with the logit of every forget token lowered by ``beta``.

    Args:
        model: what to unlearn from.
        beta: how much the logit is lowered.
        forget_weight: weight of the distillation.
        retain_weight: weight of ``NLL(retain)``; 0, OpenUnlearning's choice, for no retain objective at all.
        combiner: replaces the weighted sum; of the weights, only that ``retain_weight`` is not 0 then matters.
        reference: the reference model; by default (None) a frozen copy of the model.
        options: see :class:`~unlearn_pl.modules.ModuleOptions`.

    References:
        Dong et al., UNDIAL: self-distillation with adjusted logits for robust unlearning in large language models,
        NAACL 2025, arXiv 2402.10052.
    """

    def __init__(
        self,
        model: ModelLike,
        beta: float = 10.0,
        forget_weight: float = 1.0,
        retain_weight: float = 0.0,
        combiner: Combiner | None = None,
        reference: Reference | None = None,
        **options: Unpack[ModuleOptions],
    ) -> None:
        objectives: dict[str, Objective] = {"forget": UNDIALLoss(beta)}
        weights = {"forget": forget_weight}
        if retain_weight:
            objectives["retain"] = CausalLMLoss()
            weights["retain"] = retain_weight
        super().__init__(
            model, objectives, combiner or Scalarization(weights), reference or FrozenReference(), **options
        )
