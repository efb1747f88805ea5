"""By how much the log-probability of an answer's core drops with hidden states of another model, layer by layer."""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import torch
from torch import Tensor, nn

from unlearn_pl.data.text.span_tokens import span_tokens
from unlearn_pl.metrics.base import PerExampleMetric
from unlearn_pl.metrics.proof.patching import layer_states, log_probs, patched_log_probs
from unlearn_pl.models import evaluation_mode
from unlearn_pl.types import IGNORE_INDEX, Reads, TokenBatch, right_answers

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

MAX_LAYERS = 2**16


class Core(NamedTuple):
    """The core of an answer.

    Attributes:
        answer: the correct answer.
        first: its first character that belongs to the core.
        end: the first one behind the core.
    """

    answer: str
    first: int
    end: int


Known = Callable[[TokenBatch], Tensor | None]
"""Drops ``[B, L]`` of a batch that are known already; None if some are not."""


class CoreDrops(PerExampleMetric):
    """Keeps, per answer and layer l, ``s - s_l``: the drop of the core's mean log-probability, in nats per token.

    ``s`` is that of the full model, ``s_l`` that of the full model with the source's hidden states behind layer l, at
    the positions that predict the core.

    Args:
        source: the model whose states are patched in; on the device of the evaluation.
        full: the model that knows the answers; on the same device, with as many layers.
        cores: index of the row to the core of its answer.
        tokenizer: of both.
        known: drops that need not be measured.
        context: context manager for the forwards, such as that of a precision.
        sharded: whether every forward of the source is a collective operation.
    """

    reads: ClassVar[Reads] = "nothing"

    def __init__(
        self,
        source: nn.Module,
        full: nn.Module,
        cores: Mapping[int, Core],
        tokenizer: "PreTrainedTokenizerBase",
        known: Known | None = None,
        context: Callable[[], AbstractContextManager[None]] = nullcontext,
        sharded: bool = False,
    ) -> None:
        super().__init__()
        self._models = (source, full)  # not parts of the metric, which torchmetrics would move and copy
        self.cores = cores
        self.tokenizer = tokenizer
        self.known = known
        self.context = context
        self.sharded = sharded
        self.measured: list[tuple[TokenBatch, Tensor]] = []

    def take(self, outputs: Mapping[str, Any], batch: Mapping[str, Any]) -> None:
        """Add the drops of the correct answers of a batch.

        Args:
            outputs: not read.
            batch: a :class:`~unlearn_pl.types.TokenBatch`.
        """
        answers = right_answers(batch)  # type: ignore[arg-type]
        if "choice" in answers and not (answers["choice"] == 0).any():  # one row of another candidate
            if self.sharded:
                self._measure(answers)  # every forward is a collective operation
            return
        cores = core_batch(answers, self.cores, self.tokenizer)
        drops = self.known(cores) if self.known is not None else None
        if drops is None:
            drops = self._measure(cores)
            self.measured.append((cores, drops.cpu()))
        layers = torch.arange(drops.shape[-1], device=drops.device)
        keys = cores["index"].to(drops.device).unsqueeze(-1) * MAX_LAYERS + layers
        self.update(keys.flatten(), drops.flatten())

    def drops(self) -> dict[int, list[float]]:
        """Index of the row to its L drops, over all ranks; a collective operation."""
        found: dict[int, list[float]] = {}
        for key, value in self.per_example().items():
            found.setdefault(key // MAX_LAYERS, []).append(value)
        return found

    def _measure(self, batch: TokenBatch) -> Tensor:
        source, full = self._models
        with torch.no_grad(), evaluation_mode(source), evaluation_mode(full), self.context():
            states = layer_states(source, batch)
            return log_probs(full, batch).unsqueeze(-1) - patched_log_probs(full, batch, states)


def core_batch(batch: TokenBatch, cores: Mapping[int, Core], tokenizer: "PreTrainedTokenizerBase") -> TokenBatch:
    """``batch`` with labels at the tokens of the cores only.

    Args:
        batch: correct answers, ``[B, T]`` tokens.
        cores: index of the row to the core of its answer.
        tokenizer: decodes the labels.

    Raises:
        ValueError: if an answer cannot be found in its tokens.
    """
    labels = torch.full_like(batch["labels"], IGNORE_INDEX)
    for row, index in enumerate(batch["index"].tolist()):
        places = (batch["labels"][row] != IGNORE_INDEX).nonzero().flatten()
        inside = core_tokens(batch["labels"][row][places].tolist(), cores[index], tokenizer)
        kept = places[torch.tensor(inside, dtype=torch.long, device=places.device)]
        labels[row, kept] = batch["labels"][row, kept]
    return {**batch, "labels": labels}


def core_tokens(tokens: list[int], core: Core, tokenizer: "PreTrainedTokenizerBase") -> list[int]:
    """Positions of the tokens of an answer that hold a part of its core, at least one.

    Args:
        tokens: the answer and what ends it.
        core: where the core is in the text.
        tokenizer: decodes the tokens.

    Raises:
        ValueError: if the tokens do not decode to the answer.
    """
    return span_tokens(tokens, core.answer, core.first, core.end, tokenizer, name="core")
