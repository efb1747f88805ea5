"""Memorization of answers and texts under teacher forcing, and its means over splits."""

from collections.abc import Mapping
from typing import ClassVar

from torch import Tensor

from unlearn_pl.functional import Compat, exact_memorization, extraction_strength
from unlearn_pl.functional.evaluation.compat import follows_openunlearning
from unlearn_pl.metrics.answer_metric import AnswerMetric
from unlearn_pl.metrics.scores import Scores, mean_score
from unlearn_pl.types import Detail, Score

MEMORIZATION = ("exact_memorization", "extraction_strength")


class ExactMemorization(AnswerMetric):
    """Keeps :func:`~unlearn_pl.functional.exact_memorization` of every answer.

    It is the share of the answer's tokens that greedy decoding predicts correctly.

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
        """``[B]`` fp64, from ``greedy [B, T-1]`` and ``mask [B, T-1]``."""
        return exact_memorization(answers["greedy"], answers["mask"], self.compat)


class ExtractionStrength(AnswerMetric):
    """Keeps :func:`~unlearn_pl.functional.extraction_strength` of every answer.

    It is the largest share of the answer that greedy decoding reproduces when the rest of it, its beginning, is given.

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
        """``[B]`` fp64, from ``greedy [B, T-1]`` and ``mask [B, T-1]``."""
        return extraction_strength(answers["greedy"], answers["mask"], self.compat)


def memorization_metrics(per_example: Mapping[str, Scores]) -> dict[str, float]:
    """``{split}_exact_memorization`` and ``{split}_extraction_strength``: means over the split.

    Args:
        per_example: split to score to index to value.

    Returns:
        Name of the metric to value; NaN if one of its values is NaN.
    """
    return {
        f"{split}_{name}": mean_score(scores[name])
        for split, scores in per_example.items()
        for name in MEMORIZATION
        if scores.get(name)
    }
