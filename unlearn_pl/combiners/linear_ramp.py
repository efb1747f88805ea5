"""Weights that change over the optimizer steps."""

import math

from unlearn_pl.recording import Recorded


class LinearRamp(Recorded):
    """A weight that goes from ``start`` to ``end`` in ``steps`` optimizer steps, and stays there.

    Args:
        start: weight of the first step.
        end: weight of step ``steps`` and of all later ones.
        steps: number of steps in between.

    Raises:
        ValueError: if a weight is not finite, or ``steps`` is not positive.

    Example:
        >>> ramp = LinearRamp(10.0, 0.0, steps=4)
        >>> [ramp(step) for step in range(6)]
        [10.0, 7.5, 5.0, 2.5, 0.0, 0.0]
    """

    def __init__(self, start: float, end: float, steps: int) -> None:
        if not (math.isfinite(start) and math.isfinite(end)):
            raise ValueError(f"start={start} and end={end}; accepted: finite weights.")
        if steps < 1:
            raise ValueError(f"steps={steps}; accepted: at least 1.")
        self.start = start
        self.end = end
        self.steps = steps

    def __call__(self, step: int) -> float:
        """The weight of optimizer step ``step``, from 0."""
        share = min(step / self.steps, 1.0)
        return (1 - share) * self.start + share * self.end
