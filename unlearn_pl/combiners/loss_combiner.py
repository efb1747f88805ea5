"""Base class of rules that need only the losses."""

from abc import abstractmethod
from typing import ClassVar

from torch import Tensor

from unlearn_pl.combiners.base import Combiner


class LossCombiner(Combiner):
    """Weights from the losses of the previous step; subclasses implement :meth:`weigh`.

    The weights are known before the backward pass, which then accumulates a single gradient: gradients are not
    normalized, and every objective is active that its goal does not keep out.
    """

    uses_gramian: ClassVar[bool] = False

    def __call__(self, gramian: Tensor | None, losses: Tensor) -> Tensor:
        """See :meth:`Combiner.__call__`; the Gramian is not used."""
        losses = self._checked(gramian, losses)
        self.live = ~self.paused
        return self.weigh(losses) * self.live

    @abstractmethod
    def weigh(self, losses: Tensor) -> Tensor:
        """Weights of the raw gradients.

        Args:
            losses: ``[K]`` fp64, those of the previous step; NaN at the first step.

        Returns:
            ``[K]`` fp64 on the CPU.
        """
