"""Scores of images that were made of prompts: whether a classifier finds what the prompt says."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from unlearn_pl.metrics.base import PerExampleMetric

STYLE, OBJECT, PAIR = range(3)
"""Kinds of what is forgotten, as ``kind`` in batches."""


class ConceptCorrect(PerExampleMetric):
    """1 where the image shows the style, the object, or both, that its prompt says: the one that is forgotten.

    Reads ``style_found`` and ``object_found``, each ``[B]``, of the outputs, and ``style``, ``object`` and ``kind``,
    each ``[B]``, of the batch.
    """

    def take(self, outputs: Mapping[str, Any], batch: Mapping[str, Any]) -> None:
        """Add the images of a batch."""
        style, thing = matches(outputs, batch)
        own = torch.stack([style, thing, style * thing])
        self.update(outputs["index"], own.gather(0, batch["kind"].unsqueeze(0))[0])


class OtherCorrect(PerExampleMetric):
    """1 where the image shows the object that its prompt says if a style is forgotten, and the reverse."""

    def take(self, outputs: Mapping[str, Any], batch: Mapping[str, Any]) -> None:
        """Add the images of a batch."""
        style, thing = matches(outputs, batch)
        other = torch.stack([thing, style, style * thing])
        self.update(outputs["index"], other.gather(0, batch["kind"].unsqueeze(0))[0])


def matches(outputs: Mapping[str, Any], batch: Mapping[str, Any]) -> tuple[Tensor, Tensor]:
    """``[B]`` 1 where the style is right, and where the object is; NaN where an image is not finite."""
    return _equal(outputs["style_found"], batch["style"]), _equal(outputs["object_found"], batch["object"])


def _equal(found: Tensor, wanted: Tensor) -> Tensor:
    return torch.where(found < 0, torch.nan, (found == wanted).double())
