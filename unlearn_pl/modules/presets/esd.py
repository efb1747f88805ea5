"""ESD: predictions under the concept's prompt are guided away from it."""

from typing import Unpack

from unlearn_pl.combiners import Combiner, Scalarization
from unlearn_pl.functional.diffusion import Anchor
from unlearn_pl.masks import TrainableParameters
from unlearn_pl.models import ModelLike
from unlearn_pl.modules.options import ModuleOptions
from unlearn_pl.modules.unlearning import UnlearningModule
from unlearn_pl.objectives import ESDLoss, Objective
from unlearn_pl.references import FrozenReference, Reference


class ESD(UnlearningModule):
    """Erased Stable Diffusion: minimize ``|e(x_t, c) - (e_ref(x_t) - eta (e_ref(x_t, c) - e_ref(x_t)))|^2``.

    Only cross attention moves (ESD-x), unless ``mask`` says otherwise; ESD-u is
    ``mask=TrainableParameters(["unet"], exclude=["attn2"])``.

    Args:
        model: a diffusion model.
        eta: strength of the guidance.
        anchor: see :class:`~unlearn_pl.objectives.ESDLoss`.
        combiner: has nothing to combine; accepted so that every method takes one.
        reference: the reference model; by default (None) a frozen copy of the model.
        options: see :class:`~unlearn_pl.modules.ModuleOptions`.

    References:
        Gandikota et al., Erasing Concepts from Diffusion Models, ICCV 2023, arXiv 2303.07345.
    """

    def __init__(
        self,
        model: ModelLike,
        eta: float = 1.0,
        anchor: Anchor = "null",
        combiner: Combiner | None = None,
        reference: Reference | None = None,
        **options: Unpack[ModuleOptions],
    ) -> None:
        options.setdefault("mask", TrainableParameters(["attn2"]))
        objectives: dict[str, Objective] = {"forget": ESDLoss(eta, anchor)}
        super().__init__(model, objectives, combiner or Scalarization(), reference or FrozenReference(), **options)
