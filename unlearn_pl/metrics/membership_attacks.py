"""Membership inference attacks: one score per answer, high for a non-member."""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from unlearn_pl.functional import (
    Compat,
    gradient_norm_attack,
    loss_attack,
    min_k,
    min_k_plus_plus,
    reference_attack,
    zlib_attack,
)
from unlearn_pl.functional.evaluation.compat import follows_openunlearning, without_last
from unlearn_pl.metrics.answer_metric import AnswerMetric
from unlearn_pl.metrics.base import PerExampleMetric
from unlearn_pl.models import stream_forward
from unlearn_pl.models.modes import evaluation_mode
from unlearn_pl.types import Detail, Reads, Score, TokenBatch, right_answers


class LossAttack(AnswerMetric):
    """Keeps :func:`~unlearn_pl.functional.loss_attack` of every answer; high = non-member."""

    def score(self, answers: Score) -> Tensor:
        """``[B]`` fp64, from ``logps [B, T-1]`` and ``mask [B, T-1]``."""
        return loss_attack(answers["logps"], answers["mask"])


class ZlibAttack(AnswerMetric):
    """Keeps :func:`~unlearn_pl.functional.zlib_attack` of every answer; high = non-member."""

    details: ClassVar[frozenset[Detail]] = frozenset({"logps", "text"})

    def score(self, answers: Score) -> Tensor:
        """``[B]`` fp64, from ``logps [B, T-1]``, ``mask [B, T-1]`` and B texts."""
        return zlib_attack(answers["logps"], answers["mask"], answers["text"])


class MinKAttack(AnswerMetric):
    """Keeps :func:`~unlearn_pl.functional.min_k` of every answer; high = non-member.

    Args:
        k: share of the tokens, the least likely ones.
        compat: whose conventions to follow.

    Raises:
        ValueError: if ``k`` is not above 0 and at most 1, or ``compat`` is unknown.
    """

    def __init__(self, k: float = 0.4, compat: Compat = None) -> None:
        super().__init__()
        follows_openunlearning(compat)
        _check_share(k)
        self.k = k
        self.compat = compat

    def score(self, answers: Score) -> Tensor:
        """``[B]`` fp64, from ``logps [B, T-1]`` and ``mask [B, T-1]``."""
        return min_k(answers["logps"], answers["mask"], self.k, self.compat)


class MinKPlusPlusAttack(AnswerMetric):
    """Keeps :func:`~unlearn_pl.functional.min_k_plus_plus` of every answer; high = non-member.

    Args:
        k: share of the tokens, the least likely ones in comparison with the other tokens that were possible there.
        compat: whose conventions to follow.

    Raises:
        ValueError: if ``k`` is not above 0 and at most 1, or ``compat`` is unknown.
    """

    details: ClassVar[frozenset[Detail]] = frozenset({"logps", "moments"})

    def __init__(self, k: float = 0.4, compat: Compat = None) -> None:
        super().__init__()
        follows_openunlearning(compat)
        _check_share(k)
        self.k = k
        self.compat = compat

    def score(self, answers: Score) -> Tensor:
        """``[B]`` fp64, from ``logps``, ``mean``, ``variance`` and ``mask``, each ``[B, T-1]``."""
        return min_k_plus_plus(
            answers["logps"], answers["mean"], answers["variance"], answers["mask"], self.k, self.compat
        )


class ReferenceAttack(PerExampleMetric):
    """Keeps :func:`~unlearn_pl.functional.reference_attack` of every answer; high = non-member.

    It runs the reference model itself, one forward per batch.

    Args:
        model: a causal language model with the same tokenizer, which has seen neither members nor non-members; on the
            device of the batches. It runs in evaluation mode, without gradients, and is left as it was.
        context: context manager for its forward, such as that of a precision.
    """

    details: ClassVar[frozenset[Detail]] = frozenset({"logps"})
    reads: ClassVar[Reads] = "answers"

    def __init__(self, model: nn.Module, context: Callable[[], AbstractContextManager[None]] = nullcontext) -> None:
        super().__init__()
        self._model = [model]  # not a part of the metric, which torchmetrics would move and copy
        self.context = context

    def take(self, outputs: Mapping[str, Any], batch: Mapping[str, Any]) -> None:
        """Add the answers of a :class:`~unlearn_pl.types.Score`, after a forward of the reference model.

        Args:
            outputs: with ``index [B]``, ``choice [B]`` and ``logps [B, T-1]``.
            batch: the :class:`~unlearn_pl.types.TokenBatch` that was scored.
        """
        answers = right_answers(batch)  # type: ignore[arg-type]
        with torch.no_grad(), evaluation_mode(self._model[0]), self.context():
            reference = stream_forward(self._model[0], answers, frozenset())
        width = reference.mask.shape[1]
        ours, theirs = outputs["choice"] == 0, answers.get("choice", torch.zeros_like(answers["index"])) == 0
        score = reference_attack(outputs["logps"][ours][:, :width], reference.logps[theirs], reference.mask[theirs])
        self.update(outputs["index"][ours], score)


class GradientNormAttack(PerExampleMetric):
    """Keeps :func:`~unlearn_pl.functional.gradient_norm_attack` of every answer; high = non-member.

    The gradient is that of the mean NLL of the scored tokens, with respect to the trained parameters. Every answer
    takes a forward and a backward of its own, and one more copy of these parameters.

    Args:
        model: the causal language model under attack.
        compat: whose conventions to follow.
        context: context manager for its forward, such as that of a precision.

    Raises:
        ValueError: if ``compat`` is unknown, no parameter is trained, or the loss depends on none that is.
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
        if not any(parameter.requires_grad for parameter in model.parameters()):
            raise ValueError(
                "The gradient-norm attack needs trained parameters, but all of the model's are frozen "
                "(requires_grad is False). Unfreeze those that were trained, or leave gradient_norm out."
            )
        self._model = [model]  # not a part of the metric, which torchmetrics would move and copy
        self.compat = compat
        self.context = context

    def take(self, outputs: Mapping[str, Any], batch: Mapping[str, Any]) -> None:
        """Add the answers of a batch, after a forward and a backward for each.

        Args:
            outputs: not read.
            batch: the :class:`~unlearn_pl.types.TokenBatch` that was scored.
        """
        answers = right_answers(batch)  # type: ignore[arg-type]
        choices = answers.get("choice", torch.zeros_like(answers["index"])).tolist()
        rows = [row for row, choice in enumerate(choices) if choice == 0]
        scores = [self._score(answers, row) for row in rows]
        self.update(answers["index"][rows], torch.tensor(scores, dtype=torch.float64))

    def _score(self, answers: TokenBatch, row: int) -> float:
        model = self._model[0]
        trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
        # Lightning evaluates in inference mode; autograd does not accept its tensors, so the answer is copied.
        with torch.inference_mode(False), torch.enable_grad():
            answer = _row(answers, row)
            with self.context():
                view = stream_forward(model, answer, frozenset())
            mask = without_last(view.mask) if self._without_last else view.mask
            if not mask.any():
                return torch.nan
            loss = -view.logps[mask].mean()
            found = torch.autograd.grad(loss, trained, allow_unused=True) if loss.requires_grad else ()
        gradients = [gradient for gradient in found if gradient is not None]
        if not gradients:
            raise ValueError(
                "The gradient-norm attack needs trained parameters that the loss depends on, but it depends on none of "
                f"the {len(trained)} that are trained. Unfreeze some, or leave gradient_norm out."
            )
        return gradient_norm_attack(gradients, self.compat)


def _check_share(k: float) -> None:
    if not 0 < k <= 1:
        raise ValueError(f"k is a share of the tokens, above 0 and at most 1, but is {k}.")


def _row(batch: TokenBatch, row: int) -> TokenBatch:
    """A copy of one row, without its padding."""
    length = int(batch["attention_mask"][row].sum())
    return TokenBatch(
        input_ids=batch["input_ids"][row : row + 1, :length].clone(),
        attention_mask=batch["attention_mask"][row : row + 1, :length].clone(),
        labels=batch["labels"][row : row + 1, :length].clone(),
        index=batch["index"][row : row + 1].clone(),
    )
