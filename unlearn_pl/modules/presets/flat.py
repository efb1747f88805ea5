"""FLAT: unlearning with forget data only, by an f-divergence between two answers."""

from typing import Unpack

from unlearn_pl.combiners import Combiner, Scalarization
from unlearn_pl.functional import FDivergence
from unlearn_pl.models import ModelLike
from unlearn_pl.modules.options import ModuleOptions
from unlearn_pl.modules.unlearning import UnlearningModule
from unlearn_pl.objectives import FLATLoss


class FLAT(UnlearningModule):
    """FLAT: learns refusals and unlearns the forget answers by an f-divergence; no retain data, no reference model.

    Reads the streams ``forget`` and ``forget.alternate``, example by example.

    Args:
        model: what to unlearn from.
        divergence: ``kl``, ``tv`` (total variation), ``js`` or ``pearson``.
        combiner: has nothing to combine; accepted so that every method takes one.
        options: see :class:`~unlearn_pl.modules.ModuleOptions`.

    References:
        Wang et al., LLM unlearning via loss adjustment with only forget data, ICLR 2025, arXiv 2410.11143.
    """

    def __init__(
        self,
        model: ModelLike,
        divergence: FDivergence = "tv",
        combiner: Combiner | None = None,
        **options: Unpack[ModuleOptions],
    ) -> None:
        super().__init__(model, {"forget": FLATLoss(divergence)}, combiner or Scalarization(), **options)
