"""Membership inference by the least likely tokens."""

from torch import Tensor

from unlearn_pl.functional import Compat, min_k
from unlearn_pl.functional.evaluation.compat import follows_openunlearning
from unlearn_pl.metrics.answer_metric import AnswerMetric
from unlearn_pl.types import Score


class MinKAttack(AnswerMetric):
    """Keeps :func:`~unlearn_pl.functional.min_k` of every answer; high = non-member.

    Args:
        k: share of the tokens.
        compat: whose conventions to follow.

    Raises:
        ValueError: if ``k`` is not above 0 and at most 1, or ``compat`` is unknown.
    """

    def __init__(self, k: float = 0.4, compat: Compat = None) -> None:
        super().__init__()
        follows_openunlearning(compat)
        check_share(k)
        self.k = k
        self.compat = compat

    def score(self, answers: Score) -> Tensor:
        """``[B]`` fp64."""
        return min_k(answers["logps"], answers["mask"], self.k, self.compat)


def check_share(k: float) -> None:
    """Checks the argument of this name.

    Raises:
        ValueError: naming what is accepted.
    """
    if not 0 < k <= 1:
        raise ValueError(f"k is a share of the tokens, above 0 and at most 1, but is {k}.")
