"""Ways to keep weights in few bits."""

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

from unlearn_pl.recording import Recorded
from unlearn_pl.robustness.target import Subject


class Quantizer(Recorded, ABC):
    """Makes a model whose linear layers have weights of few bits."""

    @property
    @abstractmethod
    def name(self) -> str:
        """What tables call it."""

    def check(self) -> None:
        """Refuse a backend that is not there.

        Raises:
            ValueError: saying how to install it, and what works without it.
        """

    @abstractmethod
    def build(self, subject: Subject) -> nn.Module:
        """The model in few bits, made from the folder of ``subject``."""


class RoundingQuantizer(Quantizer):
    """Rounds weights to the values that few bits can hold, and keeps those in the model's own type.

    The matrices of all linear layers but the output head are rounded, as inference libraries do; activations are not.

    Raises:
        ValueError: from ``build``, if the model has no linear layers that could be rounded.
    """

    @abstractmethod
    def round(self, weight: Tensor) -> Tensor:
        """``weight [m, n]``, each value replaced by one that the few bits can hold."""

    @torch.no_grad()
    def build(self, subject: Subject) -> nn.Module:
        """The model with rounded weights."""
        model = subject.build()
        head = model.get_output_embeddings()  # type: ignore[operator]
        layers = [layer for layer in model.modules() if isinstance(layer, nn.Linear) and layer is not head]
        if not layers:
            raise ValueError(
                f"{subject.model!r} is a {type(model).__name__} without torch.nn.Linear layers besides the output "
                "head; nothing of it would be rounded."
            )
        for layer in layers:
            layer.weight.copy_(self.round(layer.weight.float()))
        return model
