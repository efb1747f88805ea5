"""The likelihood-ratio attack with shadow models."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from unlearn_pl.functional import likelihood_ratio_attack, logit_confidence
from unlearn_pl.metrics.base import PerExampleMetric
from unlearn_pl.models import evaluation_mode, stream_forward
from unlearn_pl.types import Detail, Reads, TokenBatch, right_answers


class ShadowAttack(PerExampleMetric):
    """Keeps :func:`~unlearn_pl.functional.likelihood_ratio_attack` of every answer; high = non-member.

    Args:
        without: models with the same tokenizer that have seen neither members nor non-members, at least two; on the
            device of the batches. They run in evaluation mode, without gradients, and are left as they were.
        within: models that have seen both; empty for the offline attack.
        context: context manager for their forwards, such as that of a precision.
    """

    details: ClassVar[frozenset[Detail]] = frozenset({"logps"})
    reads: ClassVar[Reads] = "answers"

    def __init__(
        self,
        without: Sequence[nn.Module],
        within: Sequence[nn.Module] = (),
        context: Callable[[], AbstractContextManager[None]] = nullcontext,
    ) -> None:
        super().__init__()
        self._models = (list(without), list(within))  # not parts of the metric, which torchmetrics would move and copy
        self.context = context

    def take(self, outputs: Mapping[str, Any], batch: Mapping[str, Any]) -> None:
        """Add the answers of a :class:`~unlearn_pl.types.Score`, after a forward of every shadow model.

        Args:
            outputs: with ``index [B]``, ``choice [B]``, ``logps [B, T-1]`` and ``mask [B, T-1]``.
            batch: the :class:`~unlearn_pl.types.TokenBatch` that was scored.
        """
        answers = right_answers(batch)  # type: ignore[arg-type]
        ours = outputs["choice"] == 0
        if not ours.any():
            return
        without, within = (self._confidences(models, answers) for models in self._models)
        own = logit_confidence(outputs["logps"][ours], outputs["mask"][ours])
        self.update(outputs["index"][ours], likelihood_ratio_attack(own, without, within if self._models[1] else None))

    def _confidences(self, models: Sequence[nn.Module], answers: TokenBatch) -> Tensor:
        """``[B, S]``, a column per model."""
        columns = [torch.empty(len(answers["index"]), 0, dtype=torch.float64, device=answers["index"].device)]
        for model in models:
            with torch.no_grad(), evaluation_mode(model), self.context():
                view = stream_forward(model, answers, frozenset())
            columns.append(logit_confidence(view.logps, view.mask).unsqueeze(-1))
        return torch.cat(columns, dim=-1)
