"""Summary statistics of relearning curves."""

import math
from collections.abc import Mapping, Sequence

Curve = Mapping[str, Sequence[float]]
"""``step`` and names of metrics to their values, all of one length."""


def curve_area(steps: Sequence[float], values: Sequence[float]) -> float:
    """``1 / (s_n - s_0) * integral of the curve``, by the trapezoidal rule: the mean leakage during relearning.

    Args:
        steps: ascending, at least two.
        values: one per step.

    Example:
        >>> curve_area([0, 10, 20], [0.0, 0.5, 0.5])
        0.375
    """
    pieces = zip(steps, steps[1:], values, values[1:], strict=False)
    return sum((b - a) * (x + y) / 2 for a, b, x, y in pieces) / (steps[-1] - steps[0])


def steps_to_level(steps: Sequence[float], values: Sequence[float], level: float) -> float | None:
    """The first step at which the curve reaches ``level``, interpolated linearly; None if it never does.

    Args:
        steps: ascending.
        values: one per step.
        level: the level to reach.

    Example:
        >>> steps_to_level([0, 10, 20], [0.0, 0.5, 1.0], 0.75)
        15.0
        >>> steps_to_level([0, 10, 20], [0.0, 0.5, 0.75], 0.8) is None
        True
    """
    if values[0] >= level:
        return float(steps[0])
    for a, b, x, y in zip(steps, steps[1:], values, values[1:], strict=False):
        if y >= level:
            return a + (b - a) * (level - x) / (y - x)
    return None


def best_within(leakage: Sequence[float], losses: Sequence[float], bound: float) -> int:
    """The position with the largest leakage among those whose loss is at most ``bound``; the first one of several.

    Values that are not finite, of a model that an attack has destroyed, never count.

    Args:
        leakage: one value per point of a curve.
        losses: losses of utility at the same points.
        bound: largest loss.

    Raises:
        ValueError: if no point is within the bound.

    Example:
        >>> best_within([0.1, 0.4, 0.9], [0.0, 0.05, 0.5], 0.1)
        1
    """
    pairs = zip(leakage, losses, strict=True)
    within = [i for i, (value, loss) in enumerate(pairs) if loss <= bound and math.isfinite(value)]
    if not within:
        raise ValueError(f"No point has a loss of at most {bound}: the losses are {list(losses)}.")
    return max(within, key=lambda i: (leakage[i], -i))
