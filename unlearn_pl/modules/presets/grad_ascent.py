"""Gradient ascent on the forget answers."""

from typing import Unpack

from unlearn_pl.combiners import Combiner, Scalarization
from unlearn_pl.models import ModelLike
from unlearn_pl.modules.kind_losses import losses_of
from unlearn_pl.modules.options import ModuleOptions
from unlearn_pl.modules.unlearning import UnlearningModule


class GradAscent(UnlearningModule):
    """Gradient ascent: minimize ``-NLL(forget)`` and nothing else.

    The model collapses in long runs; it is the baseline that every paper compares with.

    Args:
        model: what to unlearn from.
        combiner: has nothing to combine; accepted so that every method takes one.
        options: see :class:`~unlearn_pl.modules.ModuleOptions`.

    References:
        Jang et al., Knowledge unlearning for mitigating privacy risks in language models, arXiv 2210.01504.
    """

    def __init__(
        self,
        model: ModelLike,
        combiner: Combiner | None = None,
        **options: Unpack[ModuleOptions],
    ) -> None:
        super().__init__(model, {"forget": losses_of(model).ascend()}, combiner or Scalarization(), **options)
