"""Base class of scores of answers and texts, computed from the log-probabilities of their tokens."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

from torch import Tensor

from unlearn_pl.metrics.base import PerExampleMetric
from unlearn_pl.types import Detail, Reads, Score


class AnswerMetric(PerExampleMetric, ABC):
    """Keeps a score of the correct answer, candidate 0, of every question; of a text in windows, that of the first one.

    Subclasses name in ``details`` the per-token statistics that :meth:`score` reads.
    """

    details: ClassVar[frozenset[Detail]] = frozenset({"logps"})
    reads: ClassVar[Reads] = "answers"

    @abstractmethod
    def score(self, answers: Score) -> Tensor:
        """A number for each answer, ``[B]``.

        Args:
            answers: B answers of one forward, with the entries of ``details``, ``[B, T-1]`` each.
        """

    def take(self, outputs: Mapping[str, Any], batch: Mapping[str, Any]) -> None:
        """Add the correct answers of a :class:`~unlearn_pl.types.Score` with the entries of ``details``."""
        is_answer = outputs["choice"] == 0
        self.update(outputs["index"][is_answer], self.score(outputs)[is_answer])  # type: ignore[arg-type]
