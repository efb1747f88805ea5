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
        correct: score per example that is 1 if the model chooses the correct option or class, and 0 otherwise.
        inverted: whether high values of ``forgotten`` mean that little is left, as of a share of wrong answers.
    """

    forgotten: tuple[str, ...] = ("forget_probability", "forget_rouge", "*forget*")
    kept: tuple[str, ...] = ("retain_probability", "retain_rouge", "*retain*")
    utility: tuple[str, ...] = ()
    verbatim: str = "exact_memorization"
    correct: str = "correct"
    inverted: bool = False

    def find(self, patterns: tuple[str, ...], metrics: Iterable[str]) -> str | None:
        """The first of ``metrics`` that the first matching pattern matches; None without a match.

        What is forgotten is not among what is kept, whichever pattern of ``kept`` or ``utility`` matches it.

        Args:
            patterns: one of the fields.
            metrics: names of metrics.
        """
        names = list(metrics)
        if patterns != self.forgotten:
            names = [name for name in names if not any(fnmatchcase(name, pattern) for pattern in self.forgotten)]
        return next((name for pattern in patterns for name in names if fnmatchcase(name, pattern)), None)
