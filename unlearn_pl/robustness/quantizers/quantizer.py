"""Base classes of quantizers."""

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

from unlearn_pl.recording import Recorded
from unlearn_pl.robustness.target import Subject


class Quantizer(Recorded, ABC):
    """Builds a model whose linear layers have quantized weights."""

    @property
    @abstractmethod
    def name(self) -> str:
        """Name in tables."""

    def check(self) -> None:
        """Check that the backend is installed.

        Raises:
            ValueError: if it is not; the message says how to install it and names the alternatives.
        """

    @abstractmethod
    def build(self, subject: Subject) -> nn.Module:
        """The quantized model, built from the folder of ``subject``."""


class RoundingQuantizer(Quantizer):
    """Rounds weights to the values that few bits can represent, and stores these in the model's own dtype.

    The weights of all linear layers except the output head are rounded, as inference libraries do; activations are not.

    Raises:
        ValueError: from ``build``, if the model has no linear layers to round.
    """

    @abstractmethod
    def round(self, weight: Tensor) -> Tensor:
        """``weight [m, n]`` with each value replaced by one that the bits can represent, ``[m, n]``."""

    @torch.no_grad()
    def build(self, subject: Subject) -> nn.Module:
        """The model with rounded weights."""
        model = subject.build()
        head = model.get_output_embeddings()  # type: ignore[operator]
        layers = [layer for layer in model.modules() if isinstance(layer, nn.Linear) and layer is not head]
        if not layers:
            raise ValueError(
                f"{subject.model!r} is a {type(model).__name__} without torch.nn.Linear layers besides the output "
                "head, so there are no weights to round."
            )
        for layer in layers:
            layer.weight.copy_(self.round(layer.weight.float()))
        return model
