"""Gradient ascent, weighted by saturation and importance."""

from typing import Unpack

from unlearn_pl.combiners import Combiner, Scalarization
from unlearn_pl.models import ModelLike
from unlearn_pl.modules.options import ModuleOptions
from unlearn_pl.modules.unlearning import UnlearningModule
from unlearn_pl.objectives import CausalLMLoss, SatImpLoss


class SatImp(UnlearningModule):
    """SatImp: minimize ``forget_weight * [p^beta1 (1-p)^beta2] log p (forget) + retain_weight * NLL(retain)``.

    Args:
        model: what to unlearn from.
        beta1: exponent of saturation.
        beta2: exponent of importance.
        forget_weight: weight of the forget loss.
        retain_weight: weight of the retain loss.
        combiner: replaces the weighted sum; the two weights are then not used.
        options: see :class:`~unlearn_pl.modules.ModuleOptions`.

    References:
        Yang et al., Exploring criteria of loss reweighting to enhance LLM unlearning, ICML 2025, arXiv 2505.11953.
        Weights 1 and 0.1 are those of the class and of the README in OpenUnlearning, which judge by extraction
        strength; its configuration file has them the other way around. The exponent 0.1 is that of the authors'
        revision (2026-05), which also lowers the retain weight, to 0.05.
    """

    def __init__(
        self,
        model: ModelLike,
        beta1: float = 5.0,
        beta2: float = 0.1,
        forget_weight: float = 1.0,
        retain_weight: float = 0.1,
        combiner: Combiner | None = None,
        **options: Unpack[ModuleOptions],
    ) -> None:
        objectives = {"forget": SatImpLoss(beta1, beta2), "retain": CausalLMLoss()}
        weighted = Scalarization({"forget": forget_weight, "retain": retain_weight})
        super().__init__(model, objectives, combiner or weighted, **options)
