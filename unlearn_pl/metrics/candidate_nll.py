"""Candidate answers of every question: their length-normalized NLL, and their number of tokens."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from unlearn_pl.metrics.base import PerExampleMetric

CandidateTable = dict[int, dict[int, float]]
"""Index of the question to number of the candidate (``choice``) to its length-normalized NLL."""

MAX_CHOICES = 2**20


class CandidateNLL(PerExampleMetric):
    """Keeps ``-log p(candidate | question) / |candidate|`` per question and candidate.

    An infinite NLL (probability 0) and a NaN (non-finite logits, no scored token) are kept as they are.
    """

    def update(self, index: Tensor, choice: Tensor, nll: Tensor, num_tokens: Tensor) -> None:  # type: ignore[override]
        """Add some candidates.

        Args:
            index: ``[B]`` position of the question in its dataset.
            choice: ``[B]`` number of the candidate among those of its question.
            nll: ``[B]`` sum over the candidate's scored tokens.
            num_tokens: ``[B]`` number of these tokens.
        """
        super().update(index * MAX_CHOICES + choice, nll.double() / num_tokens)

    def take(self, outputs: Mapping[str, Any], batch: Mapping[str, Any]) -> None:
        """Add a :class:`~unlearn_pl.types.Score`."""
        self.update(outputs["index"], outputs["choice"], outputs["nll"], outputs["num_tokens"])

    def candidates(self) -> CandidateTable:
        """The candidates over all ranks, both indices ascending; a collective operation."""
        table: CandidateTable = {}
        for key, nll in self.per_example().items():
            index, choice = divmod(key, MAX_CHOICES)
            table.setdefault(index, {})[choice] = nll
        return table


class TokenCount(PerExampleMetric):
    """Keeps the number of scored tokens per question and candidate."""

    def take(self, outputs: Mapping[str, Any], batch: Mapping[str, Any]) -> None:
        """Add a :class:`~unlearn_pl.types.Score`."""
        self.update(outputs["index"] * MAX_CHOICES + outputs["choice"], outputs["num_tokens"])
