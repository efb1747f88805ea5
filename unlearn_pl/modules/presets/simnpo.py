"""Simple negative preference optimization: no reference model, normalized by length."""

from typing import Unpack

from unlearn_pl.combiners import Combiner, Scalarization
from unlearn_pl.models import ModelLike
from unlearn_pl.modules.options import ModuleOptions
from unlearn_pl.modules.unlearning import UnlearningModule
from unlearn_pl.objectives import CausalLMLoss, SimNPOLoss


class SimNPO(UnlearningModule):
    """SimNPO with a retain loss: minimize ``forget_weight * SimNPO(forget) + retain_weight * NLL(retain)``.

    Defaults are those of the authors' code for TOFU's forget10. Results depend strongly on ``beta`` and on
    ``forget_weight`` times the learning rate: search them for every model.

    Args:
        model: what to unlearn from.
        beta: inverse temperature: 4.5 on TOFU's forget10, 2.5 on forget05.
        delta: margin of the length-normalized log-probability; the paper's ``gamma`` is ``beta * delta``.
        forget_weight: weight of the forget loss.
        retain_weight: weight of the retain loss.
        combiner: replaces the weighted sum; the two weights are then not used.
        options: see :class:`~unlearn_pl.modules.ModuleOptions`.

    References:
        Fan et al., Simplicity prevails: rethinking negative preference optimization for LLM unlearning,
        arXiv 2410.07163. The paper puts its weight on the retain loss, the authors' code for TOFU on the forget loss.
    """

    def __init__(
        self,
        model: ModelLike,
        beta: float = 4.5,
        delta: float = 0.0,
        forget_weight: float = 0.125,
        retain_weight: float = 1.0,
        combiner: Combiner | None = None,
        **options: Unpack[ModuleOptions],
    ) -> None:
        objectives = {"forget": SimNPOLoss(beta, delta), "retain": CausalLMLoss()}
        weighted = Scalarization({"forget": forget_weight, "retain": retain_weight})
        super().__init__(model, objectives, combiner or weighted, **options)
