"""Rules that need the losses alone."""

from abc import abstractmethod
from typing import ClassVar

import torch
from torch import Tensor

from unlearn_pl.combiners.base import Combiner


class LossCombiner(Combiner):
    """Weights from the losses of the step before; a subclass writes :meth:`weigh`.

    The weights are known before the backward pass, which then accumulates a single gradient: nothing is normalized,
    and every objective takes part.
    """

    uses_gramian: ClassVar[bool] = False

    def __call__(self, gramian: Tensor | None, losses: Tensor) -> Tensor:
        """As in :meth:`Combiner.__call__`; the Gramian is not used."""
        losses = self._checked(gramian, losses)
        self.live = torch.ones(len(losses), dtype=torch.bool)
        return self.weigh(losses)

    @abstractmethod
    def weigh(self, losses: Tensor) -> Tensor:
        """Weights of the raw gradients.

        Args:
            losses: ``[K]`` fp64, those of the step before; NaN at the first step.

        Returns:
            ``[K]`` fp64 on the CPU.
        """
