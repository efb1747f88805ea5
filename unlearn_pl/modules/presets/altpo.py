"""Preference of plausible alternative answers over the forget answers (AltPO)."""

from typing import Unpack

from unlearn_pl.combiners import Combiner, Scalarization
from unlearn_pl.models import ModelLike
from unlearn_pl.modules.options import ModuleOptions
from unlearn_pl.modules.unlearning import UnlearningModule
from unlearn_pl.objectives import CausalLMLoss, DPOLoss
from unlearn_pl.references import FrozenReference, Reference


class AltPO(UnlearningModule):
    """DPO with alternative answers as chosen ones: minimize ``forget_weight * DPO + retain_weight * NLL(retain)``.

    The stream ``forget.alternate`` must hold the alternatives: the paper lets the reference model write several wrong
    answers to every question, and one of them is drawn every round. ``TOFUDataModule(alternates=...)`` reads them from
    a file; without one it fills the stream with refusals, which makes this IdkDPO.

    Args:
        model: what to unlearn from.
        beta: inverse temperature; small values come close to gradient ascent.
        forget_weight: weight of the forget loss.
        retain_weight: weight of the retain loss.
        combiner: replaces the weighted sum; the two weights are then not used.
        reference: the reference model; by default (None) a frozen copy of the model. ``CachedReference()`` has none.
        options: see :class:`~unlearn_pl.modules.ModuleOptions`.

    References:
        Mekala et al., Alternate preference optimization for unlearning factual knowledge in large language models,
        COLING 2025, arXiv 2409.13474.
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
        objectives = {"forget": DPOLoss(beta), "retain": CausalLMLoss()}
        weighted = Scalarization({"forget": forget_weight, "retain": retain_weight})
        super().__init__(model, objectives, combiner or weighted, reference or FrozenReference(), **options)
