"""The view of a classifier: the class is the only token, so that every loss of language models applies."""

import torch
from torch import Tensor

from unlearn_pl.functional import label_log_probs
from unlearn_pl.types import LanguageView


def class_view(logits: Tensor, classes: Tensor, index: Tensor) -> LanguageView:
    """A :class:`~unlearn_pl.types.LanguageView` with one label per example.

    Args:
        logits: ``[B, C]`` of C classes.
        classes: ``[B]`` int64, the labels.
        index: ``[B]`` positions of the examples in their dataset.

    Returns:
        Labels, mask and log-probabilities ``[B, 1]``, and logits ``[B, 1, C]``.
    """
    labels = classes.unsqueeze(1)
    logps = label_log_probs(logits, classes).unsqueeze(1)
    return LanguageView(labels, torch.ones_like(labels, dtype=torch.bool), logps, index, logits.unsqueeze(1))
