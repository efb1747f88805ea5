"""A copy of the trained weights of a good step."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from unlearn_pl.goals import Goals
from unlearn_pl.modules import UnlearningModule


class KeptWeights:
    """A copy of trained weights on the host; every rank keeps its own shards."""

    def __init__(self) -> None:
        self._copies: list[Tensor] = []
        self.step = -1

    def __bool__(self) -> bool:
        return bool(self._copies)

    @torch.no_grad()
    def keep(self, parameters: Sequence[nn.Parameter], step: int) -> None:
        """Copy ``parameters``, those after optimizer step number ``step``."""
        self._copies = [parameter.detach().to("cpu", copy=True) for parameter in parameters]
        self.step = step

    @torch.no_grad()
    def restore(self, parameters: Sequence[nn.Parameter]) -> None:
        """Write the copies back."""
        for parameter, copy in zip(parameters, self._copies, strict=True):
            parameter.copy_(copy.to(parameter.device))


def goals_of(module: object, callback: object) -> Goals:
    """The goals of ``module``.

    Raises:
        ValueError: if it has none.
    """
    if not isinstance(module, UnlearningModule) or not module.descent.goals:
        raise ValueError(
            f"{type(callback).__name__} acts on goals, but {type(module).__name__} has none. Give the module some: "
            "goals={'forget': AtMost('holdout'), 'retain': AtLeast(share=0.9)}."
        )
    return module.descent.goals
