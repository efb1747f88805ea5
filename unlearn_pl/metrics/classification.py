"""Scores of a classifier per example: right or wrong, confidence, and entropies."""

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from unlearn_pl.functional import modified_entropy
from unlearn_pl.metrics.base import PerExampleMetric


class ClassMetric(PerExampleMetric):
    """Reads ``label [B]`` and ``class_logps [B, C]`` of an evaluation; subclasses implement :meth:`value_of`."""

    def take(self, outputs: Mapping[str, Any], batch: Mapping[str, Any]) -> None:
        """Add the outputs of :class:`~unlearn_pl.models.ImageClassifier`."""
        self.update(outputs["index"], self.value_of(outputs["class_logps"], outputs["label"]))

    @abstractmethod
    def value_of(self, logps: Tensor, labels: Tensor) -> Tensor:
        """The score ``[B]`` from log-probabilities ``[B, C]`` and labels ``[B]``; NaN where those are."""


class ClassCorrect(ClassMetric):
    """1 where the label is the most likely class, else 0."""

    def value_of(self, logps: Tensor, labels: Tensor) -> Tensor:
        """See :meth:`ClassMetric.value_of`."""
        right = (logps.argmax(dim=1) == labels).double()
        return torch.where(logps.isnan().any(dim=1), torch.nan, right)


class ClassConfidence(ClassMetric):
    """The probability of the label."""

    def value_of(self, logps: Tensor, labels: Tensor) -> Tensor:
        """See :meth:`ClassMetric.value_of`."""
        return logps.gather(1, labels.unsqueeze(1))[:, 0].exp()


class ClassEntropy(ClassMetric):
    """``-sum_i p_i log p_i`` in nats."""

    def value_of(self, logps: Tensor, labels: Tensor) -> Tensor:
        """See :meth:`ClassMetric.value_of`."""
        return torch.special.entr(logps.exp()).sum(dim=1)


class ModifiedEntropy(ClassMetric):
    """See :func:`~unlearn_pl.functional.modified_entropy`."""

    def value_of(self, logps: Tensor, labels: Tensor) -> Tensor:
        """See :meth:`ClassMetric.value_of`."""
        return modified_entropy(logps, labels)
