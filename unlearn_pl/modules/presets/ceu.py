"""Cross-entropy unlearning: the model's own distribution, without the answer."""

from typing import Unpack

from unlearn_pl.combiners import Combiner, Scalarization
from unlearn_pl.models import ModelLike
from unlearn_pl.modules.options import ModuleOptions
from unlearn_pl.modules.unlearning import UnlearningModule
from unlearn_pl.objectives import CEULoss


class CEU(UnlearningModule):
    """CE-U: cross-entropy to the model's own distribution without the true token; no retain loss.

    Args:
        model: what to unlearn from.
        ignore_first_n: number of tokens at the start of every answer that are ignored.
        combiner: has nothing to combine; accepted so that every method takes one.
        options: see :class:`~unlearn_pl.modules.ModuleOptions`.

    References:
        Yang, CE-U: cross entropy unlearning, 2025, arXiv 2503.01224.
    """

    def __init__(
        self,
        model: ModelLike,
        ignore_first_n: int = 1,
        combiner: Combiner | None = None,
        **options: Unpack[ModuleOptions],
    ) -> None:
        super().__init__(model, {"forget": CEULoss(ignore_first_n)}, combiner or Scalarization(), **options)
