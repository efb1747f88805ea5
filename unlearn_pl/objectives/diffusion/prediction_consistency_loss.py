"""Distance from the predictions of the reference model."""

from torch import Tensor

from unlearn_pl.functional.diffusion import denoising_error
from unlearn_pl.objectives.base import Objective
from unlearn_pl.types import DenoisingView


class PredictionConsistencyLoss(Objective):
    """``|e(x_t, c, t) - e_ref(x_t, c, t)|^2``: keeps the model's predictions; what KL is to language models.

    Loss and gradient are zero while the model equals the reference model.

    Args:
        stream: overrides ``retain``.
    """

    stream = "retain"
    role = "retain"
    needs = frozenset({"ref_prediction"})
    mean_over = "sequences"
    zero_at_reference = True

    def loss(self, view: DenoisingView) -> Tensor:
        """The mean squared distance, ``[]``."""
        assert view.ref_prediction is not None
        return denoising_error(view.prediction, view.ref_prediction)
