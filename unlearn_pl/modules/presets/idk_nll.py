"""Fine-tuning on refusals to the forget questions (IdkNLL)."""

from typing import Unpack

from unlearn_pl.combiners import Combiner, Scalarization
from unlearn_pl.models import ModelLike
from unlearn_pl.modules.options import ModuleOptions
from unlearn_pl.modules.unlearning import UnlearningModule
from unlearn_pl.objectives import CausalLMLoss, Objective, RefusalLoss


class IdkNLL(UnlearningModule):
    """Preference optimization of TOFU: minimize ``forget_weight * NLL(refusals) + retain_weight * NLL(retain)``.

    Reads the stream ``forget.alternate``: the forget questions, each with a different refusal in every round.

    Args:
        model: what to unlearn from.
        forget_weight: weight of the forget loss.
        retain_weight: weight of the retain loss.
        combiner: replaces the weighted sum; the two weights are then not used.
        options: see :class:`~unlearn_pl.modules.ModuleOptions`.

    References:
        Maini et al., TOFU: a task of fictitious unlearning for LLMs, arXiv 2401.06121, section 3 (IDK).
    """

    def __init__(
        self,
        model: ModelLike,
        forget_weight: float = 1.0,
        retain_weight: float = 1.0,
        combiner: Combiner | None = None,
        **options: Unpack[ModuleOptions],
    ) -> None:
        objectives: dict[str, Objective] = {"forget": RefusalLoss(), "retain": CausalLMLoss()}
        weighted = Scalarization({"forget": forget_weight, "retain": retain_weight})
        super().__init__(model, objectives, combiner or weighted, **options)
