"""The training loss of diffusion models."""

from torch import Tensor

from unlearn_pl.functional.diffusion import denoising_error
from unlearn_pl.objectives.base import Objective
from unlearn_pl.types import DenoisingView


class DenoisingLoss(Objective):
    """``|e - e(x_t, c, t)|^2``: the error of the predicted noise, mean over pixels and images.

    Args:
        stream: overrides ``retain``.

    References:
        Ho et al., Denoising Diffusion Probabilistic Models, NeurIPS 2020, arXiv 2006.11239, equation 14.
    """

    stream = "retain"
    role = "retain"
    mean_over = "sequences"

    def loss(self, view: DenoisingView) -> Tensor:
        """The mean squared error, ``[]``."""
        return denoising_error(view.prediction, view.target)
