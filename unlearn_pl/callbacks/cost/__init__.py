"""What a run costs."""

from unlearn_pl.callbacks.cost.backward_passes import BackwardPasses

__all__ = ["BackwardPasses"]
