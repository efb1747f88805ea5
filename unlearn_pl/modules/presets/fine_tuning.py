"""Plain fine-tuning, for the target model (trained on all data) and the retain model (without the forget set)."""

from typing import Unpack

from unlearn_pl.combiners import Scalarization
from unlearn_pl.models import ModelLike
from unlearn_pl.modules.kind_losses import losses_of
from unlearn_pl.modules.options import ModuleOptions
from unlearn_pl.modules.unlearning import UnlearningModule


class FineTuning(UnlearningModule):
    """Minimize ``NLL`` on one stream; of a diffusion model, the error of the predicted noise.

    Args:
        model: what to train.
        stream: name of the stream.
        options: see :class:`~unlearn_pl.modules.ModuleOptions`.
    """

    def __init__(self, model: ModelLike, stream: str = "train", **options: Unpack[ModuleOptions]) -> None:
        super().__init__(model, {"nll": losses_of(model).learn(stream=stream)}, Scalarization(), **options)
