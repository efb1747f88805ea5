"""What an evaluation class says about its metrics, for tables, comparisons and reports."""

from collections.abc import Mapping
from fnmatch import fnmatchcase
from types import MappingProxyType
from typing import ClassVar

from unlearn_pl.callbacks.described.definitions import DEFINITIONS
from unlearn_pl.callbacks.described.headline import Headline
from unlearn_pl.metrics import Direction, direction_of


class Described:
    """Directions, definitions and headline of the metrics of a class.

    Attributes:
        directions: pattern of names of metrics to what is better: ``higher``, ``lower``, or ``retain``, the values
            nearest to those of the retain model. The first pattern that matches counts.
        headline: the metrics that a sentence about an evaluation quotes.
        definitions: pattern of names of metrics to a definition in one or two sentences, beyond the common ones.
    """

    directions: ClassVar[Mapping[str, Direction]] = MappingProxyType({})
    headline: ClassVar[Headline] = Headline()
    definitions: ClassVar[Mapping[str, str]] = MappingProxyType({})

    @classmethod
    def direction(cls, metric: str) -> Direction | None:
        """Which values of ``metric`` are better; None if ``directions`` do not say.

        Args:
            metric: its name, without stage and benchmark.
        """
        return direction_of(metric, cls.directions)

    @classmethod
    def definition(cls, metric: str) -> str | None:
        """The definition of ``metric``, of the class's own or of the common ones; None if there is none.

        Args:
            metric: its name, without stage and benchmark.
        """
        every = (*cls.definitions.items(), *DEFINITIONS.items())
        return next((text for pattern, text in every if fnmatchcase(metric, pattern)), None)

    @classmethod
    def holds_forget_set(cls, split: str, metrics: Mapping[str, object]) -> bool:
        """Whether a split holds what is to be forgotten, or may: unless all that is said of it is to be kept high.

        Args:
            split: its name.
            metrics: the names of the metrics of an evaluation.
        """
        own = [name for name in metrics if name == split or name.startswith(f"{split}_")]
        found = {cls.direction(name) for name in own}
        return (
            not found
            or "forget" in split
            or bool(found & {"retain", None})
            or ("lower" in found and "higher" not in found)
        )
