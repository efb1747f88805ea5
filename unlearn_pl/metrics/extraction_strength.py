"""Share of the answer that comes back whole when the rest of it is given."""

from typing import ClassVar

from torch import Tensor

from unlearn_pl.functional import Compat, extraction_strength
from unlearn_pl.functional.evaluation.compat import follows_openunlearning
from unlearn_pl.metrics.answer_metric import AnswerMetric
from unlearn_pl.types import Detail, Score


class ExtractionStrength(AnswerMetric):
    """Keeps :func:`~unlearn_pl.functional.extraction_strength` of every answer.

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
        return extraction_strength(answers["greedy"], answers["mask"], self.compat)
