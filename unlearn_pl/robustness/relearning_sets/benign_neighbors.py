"""Retain rows that resemble the forget set."""

import re

from unlearn_pl.data import Row
from unlearn_pl.robustness.questions import questions
from unlearn_pl.robustness.relearning_sets.relearning_set import RelearningSet, Selection, check_fraction, share_of
from unlearn_pl.robustness.target import Subject

_WORD = re.compile(r"\w+")


class BenignNeighbours(RelearningSet):
    """The retain rows closest to the forget set; no forget row is shown.

    Closeness is the largest ``|A & B| / |A | B|`` with a forget row, over the sets of words of question and answer.

    Args:
        fraction: number of rows as a share of the forget set's size.

    Raises:
        ValueError: if ``fraction`` is not in (0, 1]; from ``select``, if it selects no row, or there are too few.

    References:
        Hu et al., Jogging the Memory of Unlearned Models Through Targeted Relearning Attacks, arXiv 2406.13356.
    """

    def __init__(self, fraction: float = 0.2) -> None:
        self.fraction = check_fraction(fraction)

    @property
    def name(self) -> str:
        """``benign 20%``."""
        return f"benign {self.fraction:.0%}"

    def select(self, subject: Subject) -> Selection:
        """The closest retain rows; ties go to the first."""
        forget = [_words(row) for row in questions(subject.forget, "Relearning")]
        retain = questions(subject.retain, "Relearning on BenignNeighbours")
        count = share_of(self.fraction, len(forget))
        if count > len(retain):
            raise ValueError(f"fraction={self.fraction} selects {count} retain rows, but there are {len(retain)}.")
        closeness = [max(_closeness(words, other) for other in forget) for words in map(_words, retain)]
        nearest = sorted(range(len(retain)), key=lambda i: -closeness[i])[:count]
        return Selection([retain[i] for i in sorted(nearest)])


def _closeness(words: set[str], other: set[str]) -> float:
    return len(words & other) / max(1, len(words | other))


def _words(row: Row) -> set[str]:
    return set(_WORD.findall(f"{row['question']} {row['answer']}".casefold()))
