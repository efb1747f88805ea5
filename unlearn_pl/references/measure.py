"""One pass of a model over many examples, shared by the ranks."""

import math
from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn

from unlearn_pl.functional.top_k import top_k_log_probs
from unlearn_pl.models.modes import evaluation_mode
from unlearn_pl.models.sharding import reshard
from unlearn_pl.references.cache import ReferenceCache, keys_of
from unlearn_pl.references.context import ReferenceContext, TokenExample
from unlearn_pl.references.ranks import gather_on_rank_zero
from unlearn_pl.types import IGNORE_INDEX, Batch, Forward, LanguageView, Need, TokenBatch


def measure(
    model: nn.Module,
    examples: Sequence[TokenExample],
    context: ReferenceContext,
    top_k: int | None,
    dtype: torch.dtype,
) -> list[ReferenceCache]:
    """Log-probabilities of the labels of ``examples`` under ``model``, batch by batch, on the CPU of rank 0.

    Every rank must call it with the same examples. Batches consist of examples of similar length and do not depend on
    the number of ranks. Under FSDP2 a forward is a collective operation, so ranks that run out of batches repeat one.

    Args:
        model: the model to run; it is moved to the context's device.
        examples: at least one.
        context: device, size of the batches, ranks.
        top_k: number of most probable tokens that are also kept; None for the labels alone.
        dtype: dtype of their log-probabilities in the cache.

    Returns:
        One cache per batch, the shortest examples first; an empty list on the other ranks.
    """
    if next(model.parameters()).device != context.device:
        model.to(context.device)
    ordered = sorted(examples, key=lambda example: len(example.input_ids))
    starts = range(0, len(ordered), context.batch_size)
    parts: dict[int, ReferenceCache] = {}
    with torch.no_grad(), evaluation_mode(model):
        for turn in range(math.ceil(len(starts) / context.world_size)):
            mine = starts[min(turn * context.world_size + context.rank, len(starts) - 1)]
            batch = _collated(ordered[mine : mine + context.batch_size], context.device)
            with context.autocast():
                values = _values(context.forward, model, batch, top_k, dtype)
            scored = (batch["labels"][:, 1:] != IGNORE_INDEX).sum(dim=-1).cpu()
            part = mine, ReferenceCache(torch.tensor(keys_of(batch)), scored, values)
            parts |= dict(gather_on_rank_zero(part, context))
    reshard(model)
    return [parts[start] for start in sorted(parts)]


def _values(
    forward: Forward, model: nn.Module, batch: TokenBatch, top_k: int | None, dtype: torch.dtype
) -> dict[str, Tensor]:
    needs = frozenset() if top_k is None else frozenset({Need("logits")})
    view = cast(LanguageView, forward(model, cast(Batch, batch), needs))
    values = {"logps": view.logps[view.mask]}
    if top_k is not None:
        assert view.logits is not None
        top = top_k_log_probs(view.logits[view.mask], view.labels[view.mask], top_k)
        values |= {"tokens": top.tokens.int(), "top_logps": top.logps.to(dtype), "rest": top.rest}
    return {name: value.cpu() for name, value in values.items()}


def _collated(examples: Sequence[TokenExample], device: torch.device) -> TokenBatch:
    width = max(len(example.input_ids) for example in examples)

    def padded(rows: Sequence[list[int]], value: int) -> Tensor:
        return torch.tensor([row + [value] * (width - len(row)) for row in rows], device=device)

    return TokenBatch(
        input_ids=padded([example.input_ids for example in examples], 0),
        attention_mask=padded([[1] * len(example.input_ids) for example in examples], 0),
        labels=padded([example.labels for example in examples], IGNORE_INDEX),
        index=torch.tensor([example.index for example in examples], device=device),
    )
