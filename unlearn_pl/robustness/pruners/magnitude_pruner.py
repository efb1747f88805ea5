"""Pruning of small weights."""

from unlearn_pl.robustness.pruners.pruner import Pruner


class MagnitudePruner(Pruner):
    """Sets the smallest weights of every matrix to 0; needs no data. For the arguments, see :class:`Pruner`."""

    @property
    def name(self) -> str:
        """``magnitude``."""
        return "magnitude"
