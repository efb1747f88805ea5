"""The forget rows with the shortest answers."""

from unlearn_pl.robustness.questions import questions
from unlearn_pl.robustness.relearning_sets.relearning_set import RelearningSet, Selection, check_fraction, share_of
from unlearn_pl.robustness.target import Subject


class ShortestFraction(RelearningSet):
    """The part of the forget set with the shortest answers, in tokens: the attack under which NPO fares worst.

    Args:
        fraction: share of the forget set.

    Raises:
        ValueError: if ``fraction`` is not in (0, 1]; from ``select``, if it selects no row.

    References:
        Fan et al., Simplicity Prevails: Rethinking Negative Preference Optimization for LLM Unlearning,
        arXiv 2410.07163, figure 6.
    """

    def __init__(self, fraction: float = 0.2) -> None:
        self.fraction = check_fraction(fraction)

    @property
    def name(self) -> str:
        """``shortest 20%``."""
        return f"shortest {self.fraction:.0%}"

    def select(self, subject: Subject) -> Selection:
        """The rows with the shortest answers, in the order of the data; ties go to the first."""
        rows = questions(subject.forget, "Relearning")
        lengths = [len(subject.tokenizer(row.expected())["input_ids"]) for row in subject.forget]
        count = share_of(self.fraction, len(rows))
        shown = sorted(sorted(range(len(rows)), key=lambda i: lengths[i])[:count])
        return Selection([rows[i] for i in shown], shown)
