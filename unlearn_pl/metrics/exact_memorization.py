"""Share of the answer's tokens that greedy decoding gets right."""

from typing import ClassVar

from torch import Tensor

from unlearn_pl.functional import Compat, exact_memorization
from unlearn_pl.functional.evaluation.compat import follows_openunlearning
from unlearn_pl.metrics.answer_metric import AnswerMetric
from unlearn_pl.types import Detail, Score


class ExactMemorization(AnswerMetric):
    """Keeps :func:`~unlearn_pl.functional.exact_memorization` of every answer.

    Args:
        compat: whose conventions to follow.

    Raises:
        ValueError: if ``compat`` is unknown.
    """

    details: ClassVar[frozenset[Detail]] = frozenset({"greedy"})

    def __init__(self, compat: Compat = None) -> None:
        super().__init__()
        follows_openunlearning(compat)
        self.compat = compat

    def score(self, answers: Score) -> Tensor:
        """``[B]`` fp64."""
        return exact_memorization(answers["greedy"], answers["mask"], self.compat)
