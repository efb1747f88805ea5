"""Gradient ascent on the training loss of diffusion models."""

from torch import Tensor

from unlearn_pl.functional.diffusion import denoising_error
from unlearn_pl.objectives.base import Objective
from unlearn_pl.types import DenoisingView


class DenoisingAscentLoss(Objective):
    """``-|e - e(x_t, c, t)|^2`` on the forget images; unbounded.

    Args:
        stream: overrides ``forget``.

    References:
        Zhang et al., UnlearnCanvas, NeurIPS 2024, arXiv 2402.11846: the baseline GA.
    """

    stream = "forget"
    role = "forget"
    mean_over = "sequences"

    def loss(self, view: DenoisingView) -> Tensor:
        """The negative mean squared error, ``[]``."""
        return -denoising_error(view.prediction, view.target)
