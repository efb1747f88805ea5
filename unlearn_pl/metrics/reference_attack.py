"""Membership inference by the loss in comparison with that of another model."""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any, ClassVar

import torch
from torch import nn

from unlearn_pl.functional import reference_attack
from unlearn_pl.metrics.base import PerExampleMetric
from unlearn_pl.models import stream_forward
from unlearn_pl.types import Detail, Reads, right_answers


class ReferenceAttack(PerExampleMetric):
    """Keeps :func:`~unlearn_pl.functional.reference_attack` of every answer; high = non-member.

    It runs the reference model itself, one forward per batch.

    Args:
        model: a causal language model with the same tokenizer, which has seen neither members nor non-members; in
            evaluation mode, on the device of the batches.
        context: what its forward runs in, such as that of a precision.
    """

    details: ClassVar[frozenset[Detail]] = frozenset({"logps"})
    reads: ClassVar[Reads] = "answers"

    def __init__(self, model: nn.Module, context: Callable[[], AbstractContextManager[None]] = nullcontext) -> None:
        super().__init__()
        self._model = [model]  # not a part of the metric, which torchmetrics would move and copy
        self.context = context

    def take(self, outputs: Mapping[str, Any], batch: Mapping[str, Any]) -> None:
        """Take in a :class:`~unlearn_pl.types.Score` with ``logps``, and score its batch with the reference."""
        answers = right_answers(batch)  # type: ignore[arg-type]
        with torch.no_grad(), self.context():
            reference = stream_forward(self._model[0], answers, frozenset())
        width = reference.mask.shape[1]
        ours, theirs = outputs["choice"] == 0, answers.get("choice", torch.zeros_like(answers["index"])) == 0
        score = reference_attack(outputs["logps"][ours][:, :width], reference.logps[theirs], reference.mask[theirs])
        self.update(outputs["index"][ours], score)
