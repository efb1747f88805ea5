"""EraseDiff: the wrong noise on the forget images, the right one on the retain images."""

from typing import Unpack

from unlearn_pl.combiners import Combiner, MinNorm
from unlearn_pl.models import ModelLike
from unlearn_pl.modules.options import ModuleOptions
from unlearn_pl.modules.unlearning import UnlearningModule
from unlearn_pl.objectives import DenoisingLoss, UniformNoiseLoss


class EraseDiff(UnlearningModule):
    """Minimize ``|u - e(x_t, c)|^2 (forget)`` and ``|e - e(x_t, c)|^2 (retain)`` together, ``u`` uniform noise.

    The paper solves a bilevel problem, the forget loss inside, with first-order gradients; here both losses descend
    by a common direction.

    Args:
        model: a diffusion model.
        combiner: of the two gradients; by default (None) :class:`~unlearn_pl.combiners.MinNorm`.
        options: see :class:`~unlearn_pl.modules.ModuleOptions`.

    References:
        Wu et al., EraseDiff: Erasing Data Influence in Diffusion Models, arXiv 2401.05779.
    """

    def __init__(self, model: ModelLike, combiner: Combiner | None = None, **options: Unpack[ModuleOptions]) -> None:
        super().__init__(
            model, {"forget": UniformNoiseLoss(), "retain": DenoisingLoss()}, combiner or MinNorm(), **options
        )
