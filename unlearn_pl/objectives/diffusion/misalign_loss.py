"""Predictions for a prompt as those for another prompt."""

from torch import Tensor

from unlearn_pl.functional.diffusion import denoising_error
from unlearn_pl.objectives.base import Objective
from unlearn_pl.types import DenoisingView


class MisalignLoss(Objective):
    """``|e(x_t, c, t) - e(x_t, c', t)|^2`` on the forget images: their prompts come to mean the pseudo prompts ``c'``.

    Args:
        frozen: whether ``e(x_t, c', t)`` is that of the reference model; otherwise that of the trained model, without
            a gradient.
        stream: overrides ``forget``.

    References:
        Fan et al., SalUn, ICLR 2024, arXiv 2310.12508, section 4, with the trained model's own prediction, as in
        the code of UnlearnCanvas; Kumari et al., Ablating Concepts in Text-to-Image Diffusion Models, ICCV 2023,
        arXiv 2303.13516.
    """

    stream = "forget"
    role = "forget"
    needs = frozenset({"pseudo_prediction"})
    mean_over = "sequences"

    def __init__(self, frozen: bool = False, stream: str | None = None) -> None:
        super().__init__(stream)
        self.needs = frozenset({"ref_pseudo_prediction" if frozen else "pseudo_prediction"})
        self.frozen = frozen

    def loss(self, view: DenoisingView) -> Tensor:
        """The mean squared error, ``[]``."""
        target = view.ref_pseudo_prediction if self.frozen else view.pseudo_prediction
        assert target is not None
        return denoising_error(view.prediction, target.detach())
