"""Inputs for scoring one parameter: weight, gradients and activation norms."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor

from unlearn_pl.gradients import local

Need = Literal["forget", "retain", "inputs"]


@dataclass(frozen=True)
class Measured:
    """A parameter and its measurements.

    Attributes:
        name: name in ``model.named_parameters()``.
        parameter: ``[...]`` the values; if they are sharded (a DTensor), so are the gradients and scores.
        gradients: ``forget`` and ``retain`` to the mean gradient ``[...]`` of the loss on that data, or the mean of
            its squares, shaped like ``weight``; a missing one is 0.
        input_norms: Euclidean length, over all tokens, of each input of the layer; ``[in]``, or in a shape that a
            weight of another layout is multiplied with: ``[in, 1]``, ``[experts, 1, in]``, ``[experts, in, 1]``.
        input_dim: the dimension of ``parameter`` that its inputs are in.
    """

    name: str
    parameter: Tensor
    gradients: Mapping[str, Tensor] = field(default_factory=dict)
    input_norms: Tensor | None = None
    input_dim: int = 1

    @property
    def weight(self) -> Tensor:
        """The values ``[...]``, or this rank's part of them."""
        return local(self.parameter.detach())

    def by_output(self, values: Tensor) -> Tensor:
        """A view of ``values``, shaped like ``weight``, with the inputs in the last dimension: ``[..., in]``."""
        return values.movedim(self.input_dim, -1)

    def gradient(self, data: str) -> Tensor:
        """The mean gradient ``[...]`` on ``forget`` or ``retain`` data, or that of its squares, in fp32 or better."""
        found = self.gradients.get(data)
        return torch.zeros_like(exact(self.weight)) if found is None else exact(found)


def exact(tensor: Tensor) -> Tensor:
    """``tensor [...]`` in fp32 or better."""
    return tensor.to(torch.promote_types(tensor.dtype, torch.float32))
