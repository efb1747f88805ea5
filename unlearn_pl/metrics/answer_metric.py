"""Scores of answers and texts that are made of the log-probabilities of their tokens."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

from torch import Tensor

from unlearn_pl.metrics.base import PerExampleMetric
from unlearn_pl.types import Detail, Reads, Score


class AnswerMetric(PerExampleMetric, ABC):
    """Keeps a score of the right answer, candidate 0, of every question; of a text in windows, that of the first one.

    Subclasses say in ``details`` what :meth:`score` reads.
    """

    details: ClassVar[frozenset[Detail]] = frozenset({"logps"})
    reads: ClassVar[Reads] = "answers"

    @abstractmethod
    def score(self, answers: Score) -> Tensor:
        """``[B]``, a number for each answer.

        Args:
            answers: of one forward, with ``details``.
        """

    def take(self, outputs: Mapping[str, Any], batch: Mapping[str, Any]) -> None:
        """Take in a :class:`~unlearn_pl.types.Score` with ``details``."""
        is_answer = outputs["choice"] == 0
        self.update(outputs["index"][is_answer], self.score(outputs)[is_answer])  # type: ignore[arg-type]
