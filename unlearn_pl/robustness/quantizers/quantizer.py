"""Base classes of quantizers."""

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

from unlearn_pl.models.weight_layout import check_share, head_parameters, weight_matrices
from unlearn_pl.recording import Recorded
from unlearn_pl.robustness.target import Subject


class Quantizer(Recorded, ABC):
    """Builds a model whose layers have quantized weights."""

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

    The matrices of all layers are rounded, as inference libraries do: linear layers, GPT-2's, and those of experts, one
    by one; with ``embeddings``, embeddings and the output head as well, as in GGUF files. Activations are not rounded.
    The share of the layers' weights that are rounded is logged where it is not all of them.

    Attributes:
        embeddings: whether embeddings and the output head are rounded, too.

    Raises:
        ValueError: from ``build``, if less than three quarters of the weights in the model's layers can be rounded.
    """

    embeddings: bool = False

    @abstractmethod
    def round(self, weight: Tensor) -> Tensor:
        """``weight [m, n]`` with each value replaced by one that the bits can represent, ``[m, n]``."""

    @torch.no_grad()
    def build(self, subject: Subject) -> nn.Module:
        """The model with rounded weights."""
        model = subject.build()
        head = {id(parameter) for parameter in head_parameters(model)}
        rounded = [matrix for matrix in weight_matrices(model).values() if id(matrix.parameter) not in head]
        check_share(f"{type(self).__name__} rounds", model, [matrix.name for matrix in rounded])
        for stack in rounded:
            for matrix in stack.matrices(stack.parameter):
                matrix.copy_(self.round(matrix.float().contiguous()))
        if self.embeddings:
            for parameter in outside_layers(model):
                parameter.copy_(self.round(parameter.float()))
        return model


def outside_layers(model: nn.Module) -> list[nn.Parameter]:
    """The matrices of embeddings and output head, each once also where both share one."""
    tables = [p for m in model.modules() if isinstance(m, nn.Embedding) for p in m.parameters()]
    found = {id(p): p for p in (*tables, *head_parameters(model)) if p.dim() == 2}
    return list(found.values())
