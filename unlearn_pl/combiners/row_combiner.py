"""What a rule on the elements of the gradients is, for rules that no Gramian can express."""

from abc import abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor

from unlearn_pl.combiners.gramian_combiner import GramianCombiner


class RowCombiner(GramianCombiner):
    """A combiner that merges the gradients element by element; a subclass writes :meth:`merge`.

    Its call decides, as for every combiner, who takes part, and returns the factor of each raw gradient: by default
    that of the normalised gradient. The engine then hands the scaled gradients of those who take part to :meth:`merge`,
    one parameter at a time, and takes what it returns as the gradient of the step. Shards of a parameter are merged
    each by itself, so that it works with any strategy.
    """

    def weigh(self, gramian: Tensor, losses: Tensor) -> Tensor:
        """Factors of the normalised gradients before they are merged: 1."""
        return torch.ones_like(losses)

    @abstractmethod
    def merge(self, gradients: Sequence[Tensor | None]) -> Tensor | None:
        """The combined gradient of one parameter (or of a shard of it).

        Called for every parameter in a fixed order, after the call that returned the factors.

        Args:
            gradients: K scaled gradients of equal shape, in the order of ``setup``; None for an objective that is left
                out or does not reach the parameter. They may be written to.

        Returns:
            A tensor of that shape; None when all are None.
        """
