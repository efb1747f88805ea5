"""The few metrics that sum an evaluation up."""

from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase


@dataclass(frozen=True)
class Headline:
    """Metrics that a sentence about an evaluation quotes, as patterns; of each, the first that is there counts.

    Attributes:
        forgotten: what is left of the forget set.
        kept: what is left of the retain set.
        utility: what the model is still good for as a whole; ``kept`` where there is none.
        verbatim: score per example that is 1 if the model gives the answer word for word.
    """

    forgotten: tuple[str, ...] = ("forget_probability", "forget_rouge", "*forget*")
    kept: tuple[str, ...] = ("retain_probability", "retain_rouge", "*retain*")
    utility: tuple[str, ...] = ()
    verbatim: str = "exact_memorization"

    def find(self, patterns: tuple[str, ...], metrics: Iterable[str]) -> str | None:
        """The first of ``metrics`` that the first matching pattern matches; None without a match.

        Args:
            patterns: one of the fields.
            metrics: names of metrics.
        """
        names = list(metrics)
        return next((name for pattern in patterns for name in names if fnmatchcase(name, pattern)), None)
