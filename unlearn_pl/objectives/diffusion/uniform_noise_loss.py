"""EraseDiff's forget loss: the wrong noise."""

from torch import Tensor

from unlearn_pl.functional.diffusion import denoising_error
from unlearn_pl.objectives.base import Objective
from unlearn_pl.types import DenoisingView


class UniformNoiseLoss(Objective):
    """``|u - e(x_t, c, t)|^2`` with ``u`` uniform in [0, 1), on the forget images.

    ``u`` is drawn anew at every step, as the noise is.

    Args:
        stream: overrides ``forget``.

    References:
        Wu et al., EraseDiff: Erasing Data Influence in Diffusion Models, arXiv 2401.05779.
    """

    stream = "forget"
    role = "forget"
    needs = frozenset({"uniform_noise"})
    mean_over = "sequences"

    def loss(self, view: DenoisingView) -> Tensor:
        """The mean squared error, ``[]``."""
        assert view.uniform_noise is not None
        return denoising_error(view.prediction, view.uniform_noise)
