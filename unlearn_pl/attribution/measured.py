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
        gradients: ``forget`` and ``retain`` to the mean gradient ``[...]`` of the loss on that data, shaped like
            ``weight``; a missing one is 0.
        input_norms: ``[in]`` Euclidean length over all tokens of each input of a linear layer.
    """

    name: str
    parameter: Tensor
    gradients: Mapping[str, Tensor] = field(default_factory=dict)
    input_norms: Tensor | None = None

    @property
    def weight(self) -> Tensor:
        """The values ``[...]``, or this rank's part of them."""
        return local(self.parameter.detach())

    def gradient(self, data: str) -> Tensor:
        """The mean gradient ``[...]`` on ``forget`` or ``retain`` data, in fp32 or better."""
        found = self.gradients.get(data)
        return torch.zeros_like(exact(self.weight)) if found is None else exact(found)


def exact(tensor: Tensor) -> Tensor:
    """``tensor [...]`` in fp32 or better."""
    return tensor.to(torch.promote_types(tensor.dtype, torch.float32))
