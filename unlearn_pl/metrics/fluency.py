"""Fluency of generated answers: how little they repeat themselves."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from unlearn_pl.functional import text_fluency
from unlearn_pl.metrics.base import PerExampleMetric


class Fluency(PerExampleMetric):
    """Keeps :func:`~unlearn_pl.functional.text_fluency` of every generated answer."""

    def update(self, index: Tensor, generated: Sequence[str]) -> None:  # type: ignore[override]
        """Add the scores of some generated answers.

        Args:
            index: ``[B]`` position of the question in its dataset.
            generated: B texts.
        """
        super().update(index, torch.tensor([text_fluency(text) for text in generated], dtype=torch.float64))

    def take(self, outputs: Mapping[str, Any], batch: Mapping[str, Any]) -> None:
        """Add a :class:`~unlearn_pl.types.Generation`."""
        self.update(outputs["index"], outputs["text"])
