"""Membership inference by the least likely tokens, each compared with what else was possible."""

from typing import ClassVar

from torch import Tensor

from unlearn_pl.functional import Compat, min_k_plus_plus
from unlearn_pl.functional.evaluation.compat import follows_openunlearning
from unlearn_pl.metrics.answer_metric import AnswerMetric
from unlearn_pl.metrics.min_k_attack import check_share
from unlearn_pl.types import Detail, Score


class MinKPlusPlusAttack(AnswerMetric):
    """Keeps :func:`~unlearn_pl.functional.min_k_plus_plus` of every answer; high = non-member.

    Args:
        k: share of the tokens.
        compat: whose conventions to follow.

    Raises:
        ValueError: if ``k`` is not above 0 and at most 1, or ``compat`` is unknown.
    """

    details: ClassVar[frozenset[Detail]] = frozenset({"logps", "moments"})

    def __init__(self, k: float = 0.4, compat: Compat = None) -> None:
        super().__init__()
        follows_openunlearning(compat)
        check_share(k)
        self.k = k
        self.compat = compat

    def score(self, answers: Score) -> Tensor:
        """``[B]`` fp64."""
        return min_k_plus_plus(
            answers["logps"], answers["mean"], answers["variance"], answers["mask"], self.k, self.compat
        )
