"""Forward of one stream: log-probabilities of the labels, without logits of the whole batch.

The output head is by far the widest layer: its fp32 logits ``[B, T, V]`` can take more memory than the model. It
therefore runs inside the model's own forward (where DDP and FSDP2 expect it), on the labeled positions only, in chunks,
and each chunk is immediately reduced to the log-probabilities of its labels.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from unlearn_pl.functional import label_log_probs
from unlearn_pl.host_copies import true_positions
from unlearn_pl.types import LanguageView, Need, TokenBatch, parse_needs, scored_mask

if TYPE_CHECKING:
    from transformers import PreTrainedModel

LOGIT_TRANSFORMS = (
    "final_logit_softcapping",
    "lm_head_multiplier",
    "logit_scale",
    "logits_scaling",
    "logits_soft_cap",
    "output_logit_soft_cap",
    "output_multiplier",
    "softcap",
)
"""Configuration entries of models that transform their logits after the output head."""

HEAD_CHUNK = 1024
"""Labeled positions per chunk of logits when no objective reads ``logits``."""

TokenStatistics = Callable[[Tensor, Tensor], Tensor]
"""Maps logits ``[N, V]`` and labels ``[N]`` to C numbers per label, ``[N, C]``; no gradient flows through them."""


def stream_forward(
    model: nn.Module,
    batch: TokenBatch,
    needs: Iterable[Need | str],
    chunk_size: int = HEAD_CHUNK,
    statistics: TokenStatistics | None = None,
    statistics_of: Tensor | None = None,
) -> LanguageView:
    """Run ``model`` on ``batch`` and return the fields that the objectives need, aligned with the labels.

    Args:
        model: a causal language model of transformers, also with adapters or sharded by FSDP2.
        batch: ``[B, T]`` tokens; the model receives only ``input_ids`` and ``attention_mask``.
        needs: fields of the view beyond ``logps``: ``logits``, and ``hidden.7`` for entry 7 of transformers'
            ``hidden_states`` (the output of the seventh layer; 0 is the embedding). Others are ignored.
        chunk_size: labeled positions per pass of the output head, unless ``logits`` are needed.
        statistics: maps a chunk of logits ``[N, V]`` and labels ``[N]``, before it is freed, to statistics ``[N, C]``.
        statistics_of: ``[B]`` True for the rows that ``statistics`` are computed for; None for all.

    Returns:
        The view. ``logps [B, T-1]`` are fp32 or better, and depend on the model's parameters even without labels;
        ``logits [B, T-1, V]`` keep the model's dtype.
    """
    labels, mask = batch["labels"][:, 1:], scored_mask(cast("Mapping[str, Tensor]", batch))
    own = {need for need in parse_needs(needs) if not need.reference}
    layers = sorted(need.layer for need in own if need.field == "hidden" and need.layer is not None)
    with_logits = Need("logits") in own
    values = logits = None
    scored = true_positions(mask).unbind(-1)
    wanted = (mask if statistics_of is None else mask & statistics_of.unsqueeze(-1))[scored]

    def values_of(logits: Tensor, labels: Tensor, wanted: Tensor) -> Tensor:
        return _with_statistics(label_log_probs(logits, labels), logits, labels, statistics, wanted)

    head = _plain_output_head(cast("PreTrainedModel", model))
    if not with_logits and head is not None:
        with _head_on_labels(head, labels, scored, wanted, values_of, chunk_size) as results:
            given, states = _call(model, batch, with_hidden=bool(layers))
        if results and given is results[-1]:  # else the model transforms its logits, undeclared in its config
            values = given
    if values is None:
        with _head_without_last(head, labels):
            given, states = _call(model, batch, with_hidden=bool(layers))
        full = given if given.shape[1] == labels.shape[1] else given[:, :-1]
        _check_positions(full.shape[1], labels.shape[1])
        if statistics is None:
            values = _spread(label_log_probs(full, labels, mask).unsqueeze(-1), labels, scored)
        else:
            values = _spread(values_of(full[scored], labels[scored], wanted), labels, scored)
        logits = full if with_logits else None
    return LanguageView(
        labels=labels,
        mask=mask,
        logps=values[..., 0],
        index=batch["index"],
        logits=logits,
        hidden={layer: states[layer][:, :-1] for layer in layers},
        statistics=None if statistics is None else values[..., 1:].detach(),
    )


def _call(model: nn.Module, batch: TokenBatch, with_hidden: bool) -> tuple[Tensor, tuple[Tensor, ...]]:
    extra = {"output_hidden_states": True} if with_hidden else {}
    outputs = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"], use_cache=False, **extra)
    return outputs.logits, outputs.hidden_states or ()


def _plain_output_head(model: "PreTrainedModel") -> nn.Module | None:
    """The output head, if its outputs are the logits; else None."""
    config = model.config.get_text_config()
    if any(getattr(config, name, None) not in (None, 0, 1) for name in LOGIT_TRANSFORMS):
        return None
    return model.get_output_embeddings()


@contextmanager
def _head_on_labels(
    head: nn.Module,
    labels: Tensor,
    scored: tuple[Tensor, ...],
    wanted: Tensor,
    values_of: Callable[[Tensor, Tensor, Tensor], Tensor],
    chunk_size: int,
) -> Iterator[list[Tensor]]:
    """Let ``head`` return ``[B, T-1, 1+C]`` values of the labels instead of ``[B, T, V]`` logits.

    The values leave the model as its output, because FSDP2 prepares its backward on the output tensors.

    Yields:
        The values that the head has returned so far.
    """
    plain_forward = head.forward
    results: list[Tensor] = []

    def chunk_values(hidden: Tensor, targets: Tensor, wanted: Tensor) -> Tensor:
        return values_of(plain_forward(hidden), targets, wanted)

    def forward(hidden: Tensor) -> Tensor:
        _check_positions(hidden.shape[1] - 1, labels.shape[1])
        parts = (hidden[:, :-1][scored], labels[scored], wanted)
        chunks = list(zip(*(part.split(chunk_size) for part in parts), strict=True))
        if len(chunks) > 1 and torch.is_grad_enabled():
            # The logits of a chunk are recomputed in its backward, so that only one chunk exists at a time.
            values = [checkpoint(chunk_values, *chunk, use_reentrant=False) for chunk in chunks]
        else:
            values = [chunk_values(*chunk) for chunk in chunks]
        results.append(_spread(torch.cat(values), labels, scored))
        return results[-1]

    with _forward_replaced(head, forward):
        yield results


@contextmanager
def _head_without_last(head: nn.Module | None, labels: Tensor) -> Iterator[None]:
    """Let a plain ``head``, if there is one, skip the last position, whose logits are never read."""
    if head is None:
        yield
        return
    plain_forward = head.forward

    def forward(hidden: Tensor) -> Tensor:
        _check_positions(hidden.shape[1] - 1, labels.shape[1])
        # A slice would be multiplied row by row, in bf16 with a copy of the head's weights for each row.
        return plain_forward(hidden[:, :-1].contiguous())

    with _forward_replaced(head, forward):
        yield


def _check_positions(given: int, wanted: int) -> None:
    if given != wanted:
        raise ValueError(
            f"The model has {given + 1} positions for {wanted + 1} tokens. Adapters that prepend virtual tokens to the "
            "input (prompt tuning) are not supported; accepted: models with one output per token, also with LoRA."
        )


@contextmanager
def _forward_replaced(head: nn.Module, forward: Callable[[Tensor], Tensor]) -> Iterator[None]:
    """Replace ``forward`` alone: hooks (FSDP2 gathers weights in one) wrap ``__call__`` and keep working."""
    own_forward = head.__dict__.get("forward")  # present if another library has replaced it as well
    head.forward = forward
    try:
        yield
    finally:
        if own_forward is None:
            del head.forward
        else:
            head.forward = own_forward


def _with_statistics(
    logps: Tensor, logits: Tensor, labels: Tensor, statistics: TokenStatistics | None, wanted: Tensor
) -> Tensor:
    """``logps [N]`` and the statistics of the labels side by side, ``[N, 1+C]``; 0 where they are not wanted."""
    if statistics is None:
        return logps.unsqueeze(-1)
    with torch.no_grad():
        found = statistics(logits[wanted], labels[wanted]).to(logps)
        more = found.new_zeros(len(logps), found.shape[-1])
        more[wanted] = found
    return torch.cat([logps.unsqueeze(-1), more], dim=-1)


def _spread(values: Tensor, labels: Tensor, scored: tuple[Tensor, ...]) -> Tensor:
    """``values [N, C]`` at the ``scored`` positions of ``labels [B, T-1]``, 0 elsewhere: ``[B, T-1, C]``."""
    return values.new_zeros(*labels.shape, values.shape[-1]).index_put(scored, values)
