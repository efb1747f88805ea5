"""SalUn of images that are made of prompts: misaligned prompts, on salient weights."""

from typing import Unpack

from unlearn_pl.combiners import Combiner, Scalarization
from unlearn_pl.models import ModelLike
from unlearn_pl.modules.options import ModuleOptions
from unlearn_pl.modules.unlearning import UnlearningModule
from unlearn_pl.objectives import DenoisingLoss, MisalignLoss


class SalUn(UnlearningModule):
    """Minimize ``forget_weight |e(x_t, c) - e(x_t, c')|^2 (forget) + retain_weight |e - e(x_t, c)|^2 (retain)``.

    The method is this loss on the salient weights alone, the mask that ``unlearn-pl attribute`` writes::

        SalUn(model, mask=MaskFile("salun.mask"))

    Args:
        model: a diffusion model.
        forget_weight: weight of the forget loss.
        retain_weight: weight of the retain loss.
        combiner: replaces the weighted sum; the two weights are then not used.
        options: see :class:`~unlearn_pl.modules.ModuleOptions`.

    References:
        Fan et al., SalUn: Empowering Machine Unlearning via Gradient-based Weight Saliency, ICLR 2024,
        arXiv 2310.12508, section 4.
    """

    def __init__(
        self,
        model: ModelLike,
        forget_weight: float = 1.0,
        retain_weight: float = 1.0,
        combiner: Combiner | None = None,
        **options: Unpack[ModuleOptions],
    ) -> None:
        objectives = {"forget": MisalignLoss(), "retain": DenoisingLoss()}
        weighted = Scalarization({"forget": forget_weight, "retain": retain_weight})
        super().__init__(model, objectives, combiner or weighted, **options)
