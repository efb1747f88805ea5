"""What callbacks change about the steps of the optimizer."""

from unlearn_pl.callbacks.steps.step_projection import StepProjection

__all__ = ["StepProjection"]
