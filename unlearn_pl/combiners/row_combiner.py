"""Base class of rules on the elements of the gradients, which no Gramian can express."""

from abc import abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor

from unlearn_pl.combiners.gramian_combiner import GramianCombiner


class RowCombiner(GramianCombiner):
    """A combiner that merges the gradients element by element; subclasses implement :meth:`merge`.

    As for every rule on the Gramian, a call determines the active objectives; it returns a factor for each raw
    gradient, by default that of the normalized gradient. The engine then passes the scaled gradients of the active
    objectives to :meth:`merge`, one parameter at a time, and uses the result as the gradient of the step. Shards of a
    parameter are merged separately, so that any strategy is supported.
    """

    def weigh(self, gramian: Tensor, losses: Tensor) -> Tensor:
        """Factors ``[K]`` of the normalized gradients before they are merged: 1."""
        return torch.ones_like(losses)

    @abstractmethod
    def merge(self, gradients: Sequence[Tensor | None]) -> Tensor | None:
        """The combined gradient of one parameter (or of a shard of it).

        Called for every parameter in a fixed order, after the call that returned the factors.

        Args:
            gradients: K scaled gradients ``[...]`` of equal shape, in the order of ``setup``; None for an objective
                that is inactive or does not reach the parameter. They may be modified in place.

        Returns:
            The merged gradient ``[...]``, of the same shape; None if all are None.
        """
