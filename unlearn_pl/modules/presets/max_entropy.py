"""Maximum entropy on the forget answers."""

from typing import Unpack

from unlearn_pl.combiners import Combiner, Scalarization
from unlearn_pl.models import ModelLike
from unlearn_pl.modules.options import ModuleOptions
from unlearn_pl.modules.unlearning import UnlearningModule
from unlearn_pl.objectives import CausalLMLoss, UniformKLLoss


class MaxEntropy(UnlearningModule):
    """ME with a retain loss: minimize ``forget_weight * KL(uniform || p)(forget) + retain_weight * NLL(retain)``.

    :class:`~unlearn_pl.objectives.MaxEntropyLoss` is the bounded loss ``KL(p || uniform)``.

    Args:
        model: what to unlearn from.
        forget_weight: weight of the forget loss.
        retain_weight: weight of the retain loss.
        combiner: replaces the weighted sum; the two weights are then not used.
        options: see :class:`~unlearn_pl.modules.ModuleOptions`.

    References:
        Yuan et al., A closer look at machine unlearning for large language models, ICLR 2025, arXiv 2410.08109 (ME+GD).
    """

    def __init__(
        self,
        model: ModelLike,
        forget_weight: float = 0.1,
        retain_weight: float = 1.0,
        combiner: Combiner | None = None,
        **options: Unpack[ModuleOptions],
    ) -> None:
        objectives = {"forget": UniformKLLoss(), "retain": CausalLMLoss()}
        weighted = Scalarization({"forget": forget_weight, "retain": retain_weight})
        super().__init__(model, objectives, combiner or weighted, **options)
