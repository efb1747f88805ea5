"""Primal-dual unlearning: flatten the forget logits within a budget of retain loss."""

from typing import Unpack

from unlearn_pl.combiners import Combiner, PrimalDual
from unlearn_pl.models import ModelLike
from unlearn_pl.modules.options import ModuleOptions
from unlearn_pl.modules.unlearning import UnlearningModule
from unlearn_pl.objectives import CausalLMLoss, LogitMarginLoss


class PDU(UnlearningModule):
    """PDU: minimize the squared logit margin on forget subject to ``NLL(retain) <= budget``, by dual ascent.

    Defaults are those of the authors' runs on TOFU.

    Args:
        model: what to unlearn from.
        budget: largest retain loss in nats: a little above that of the reference model.
        step_size: step size of the dual variable, per optimizer step.
        initial: dual variable at the start, the weight of the retain loss.
        combiner: replaces :class:`~unlearn_pl.combiners.PrimalDual`; the three numbers are then not used.
        options: see :class:`~unlearn_pl.modules.ModuleOptions`.

    References:
        Entesari et al., Constrained entropic unlearning: a primal-dual framework for large language models,
        NeurIPS 2025, arXiv 2506.05314.
    """

    def __init__(
        self,
        model: ModelLike,
        budget: float = 0.3,
        step_size: float = 5.0,
        initial: float = 100.0,
        combiner: Combiner | None = None,
        **options: Unpack[ModuleOptions],
    ) -> None:
        objectives = {"forget": LogitMarginLoss(), "retain": CausalLMLoss()}
        super().__init__(model, objectives, combiner or PrimalDual(budget, step_size, initial), **options)
