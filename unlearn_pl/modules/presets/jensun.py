"""Jensen-Shannon unlearning: toward refusals on the forget questions, toward the reference model elsewhere."""

from typing import Unpack

from unlearn_pl.combiners import Combiner, Scalarization
from unlearn_pl.models import ModelLike
from unlearn_pl.modules.options import ModuleOptions
from unlearn_pl.modules.unlearning import UnlearningModule
from unlearn_pl.objectives import JensenShannonLoss, RefusalJensenShannonLoss
from unlearn_pl.references import FrozenReference, Reference


class JensUn(UnlearningModule):
    """JensUn: minimize ``forget_weight * JS(p, refusal)(forget) + retain_weight * JS(p_ref, p)(retain)``.

    The tokens of the refusal, from the stream ``forget.alternate``, are the targets at the positions of the forget
    answer, in turn. Both losses are bounded by ``log 2``.

    Args:
        model: what to unlearn from.
        forget_weight: weight of the forget loss.
        retain_weight: weight of the retain loss.
        combiner: replaces the weighted sum; the two weights are then not used.
        reference: the reference model; by default (None) a frozen copy of the model.
        options: see :class:`~unlearn_pl.modules.ModuleOptions`.

    References:
        Singh et al., Unlearning that lasts: utility-preserving, robust, and almost irreversible forgetting in LLMs,
        arXiv 2509.02820. The authors take "No idea" for every question; here each has a refusal of the data.
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
        objectives = {"forget": RefusalJensenShannonLoss(), "retain": JensenShannonLoss()}
        weighted = Scalarization({"forget": forget_weight, "retain": retain_weight})
        super().__init__(model, objectives, combiner or weighted, reference or FrozenReference(), **options)
