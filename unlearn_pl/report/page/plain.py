"""Numbers and series as plain data, which JSON can hold."""

import math
from collections.abc import Sequence

NOTHING = "\u2013"
"""Stands for a number that is not there: a dash."""
POINTS = 240
"""Points of a series that a page shows; a chart is a few hundred pixels wide."""


def number(value: float | None) -> float | None:
    """``value``, or None if it is not finite."""
    return None if value is None or not math.isfinite(value) else float(value)


def thinned(series: Sequence[tuple[float, float]], points: int = POINTS) -> list[list[float | None]]:
    """``[x, y]`` pairs of evenly spaced entries of ``series``, the first and the last among them.

    Args:
        series: pairs in the order of ``x``.
        points: largest number of pairs.
    """
    count = len(series)
    chosen = range(count) if count <= points else [round(i * (count - 1) / (points - 1)) for i in range(points)]
    return [[number(series[i][0]), number(series[i][1])] for i in chosen]


def shown(value: float | None) -> str:
    """``value`` with three significant digits; a dash for None and for what is not a number."""
    if value is None or not math.isfinite(value):
        return NOTHING
    return f"{value:.3g}" if abs(value) < 1000 else f"{value:.0f}"


def percent(share: float) -> str:
    """``share`` as a whole percentage."""
    return f"{100 * share:.0f} %"
