"""Membership inference by the gradient of the loss."""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any, ClassVar

import torch
from torch import nn

from unlearn_pl.functional import Compat, gradient_norm_attack
from unlearn_pl.functional.evaluation.compat import follows_openunlearning, without_last
from unlearn_pl.metrics.base import PerExampleMetric
from unlearn_pl.models import stream_forward
from unlearn_pl.types import Reads, TokenBatch, right_answers


class GradientNormAttack(PerExampleMetric):
    """Keeps :func:`~unlearn_pl.functional.gradient_norm_attack` of every answer; high = non-member.

    The gradient is that of the mean NLL of the scored tokens, with respect to the parameters that are trained. Every
    answer takes a forward and a backward of its own, and one more copy of these parameters.

    Args:
        model: the causal language model that is attacked.
        compat: whose conventions to follow.
        context: what its forward runs in, such as that of a precision.

    Raises:
        ValueError: if ``compat`` is unknown.
    """

    reads: ClassVar[Reads] = "answers"

    def __init__(
        self,
        model: nn.Module,
        compat: Compat = None,
        context: Callable[[], AbstractContextManager[None]] = nullcontext,
    ) -> None:
        super().__init__()
        self._without_last = follows_openunlearning(compat)
        self._model = [model]  # not a part of the metric, which torchmetrics would move and copy
        self.compat = compat
        self.context = context

    def take(self, outputs: Mapping[str, Any], batch: Mapping[str, Any]) -> None:
        """Compute the gradient of every answer of a :class:`~unlearn_pl.types.TokenBatch`."""
        answers = right_answers(batch)  # type: ignore[arg-type]
        choices = answers.get("choice", torch.zeros_like(answers["index"])).tolist()
        rows = [row for row, choice in enumerate(choices) if choice == 0]
        scores = [self._score(answers, row) for row in rows]
        self.update(answers["index"][rows], torch.tensor(scores, dtype=torch.float64))

    def _score(self, answers: TokenBatch, row: int) -> float:
        model = self._model[0]
        trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
        # Lightning evaluates in inference mode, whose tensors autograd refuses, so the answer is copied.
        with torch.inference_mode(False), torch.enable_grad():
            answer = _row(answers, row)
            with self.context():
                view = stream_forward(model, answer, frozenset())
            mask = without_last(view.mask) if self._without_last else view.mask
            if not mask.any():
                return torch.nan
            loss = -view.logps[mask].mean()
            found = torch.autograd.grad(loss, trained, allow_unused=True)
        return gradient_norm_attack([gradient for gradient in found if gradient is not None], self.compat)


def _row(batch: TokenBatch, row: int) -> TokenBatch:
    """A copy of one row, without its padding."""
    length = int(batch["attention_mask"][row].sum())
    return TokenBatch(
        input_ids=batch["input_ids"][row : row + 1, :length].clone(),
        attention_mask=batch["attention_mask"][row : row + 1, :length].clone(),
        labels=batch["labels"][row : row + 1, :length].clone(),
        index=batch["index"][row : row + 1].clone(),
    )
