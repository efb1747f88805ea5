"""A random part of the forget set."""

import random

from unlearn_pl.robustness.questions import questions
from unlearn_pl.robustness.relearning_sets.relearning_set import RelearningSet, Selection, check_fraction, share_of
from unlearn_pl.robustness.target import Subject


class RandomFraction(RelearningSet):
    """A random part of the forget set, drawn with the seed of the audit.

    Args:
        fraction: share of the forget set.

    Raises:
        ValueError: if ``fraction`` is not in (0, 1]; from ``select``, if it selects no row.
    """

    def __init__(self, fraction: float = 0.2) -> None:
        self.fraction = check_fraction(fraction)

    @property
    def name(self) -> str:
        """``random 20%``."""
        return f"random {self.fraction:.0%}"

    def select(self, subject: Subject) -> Selection:
        """The selected rows, in the order of the data."""
        rows = questions(subject.forget, "Relearning")
        count = share_of(self.fraction, len(rows))
        shown = sorted(random.Random(f"relearning/{subject.seed}").sample(range(len(rows)), count))
        return Selection([rows[i] for i in shown], shown)
