"""Directions of metrics: whether higher or lower values are better, or those of a retain model."""

from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import Literal

Direction = Literal["higher", "lower", "retain"]
"""Better values of a metric: ``higher``, ``lower``, or those nearest to the ``retain`` model's.

The last is that of every measure of what is left of the forget set: a model that was trained without it is what
unlearning aims at, so values beyond its own reveal that something was unlearned.
"""

SPREADS = ("_low", "_high", "_stderr")
"""Endings of metrics that describe the spread of another metric."""


def direction_of(metric: str, directions: Mapping[str, Direction]) -> Direction | None:
    """The direction of the first pattern that ``metric`` matches.

    Args:
        metric: name of a metric; those that describe the spread of another one have its direction.
        directions: pattern (``*`` stands for any text) to direction.

    Returns:
        None if no pattern matches.

    Example:
        >>> direction_of("forget_rouge", {"forget_*": "retain", "*_rouge": "higher"})
        'retain'
    """
    for ending in SPREADS:
        metric = metric.removesuffix(ending)
    return next((found for pattern, found in directions.items() if fnmatchcase(metric, pattern)), None)
