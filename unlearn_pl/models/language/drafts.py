"""Accepted drafts: how much of the expected answer greedy decoding would write, found in a single forward.

A model that knows the correct answer writes it, or its beginning. One forward over prompt and answer shows how much: up
to the first token that is not the most probable one. Greedy decoding continued from there gives the same result as
greedy decoding from the start (speculative decoding with the correct answer as the draft).
"""

from collections.abc import Sequence, Set

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from unlearn_pl.models.language.forward import stream_forward
from unlearn_pl.types import IGNORE_INDEX, PromptBatch, TokenBatch


def accepted_drafts(model: nn.Module, batch: PromptBatch, ends: Set[int], most: int) -> list[list[int]]:
    """The prefix of every draft that greedy decoding would write, up to the first token that ends a text.

    Args:
        model: a causal language model, in evaluation mode.
        batch: B prompts with drafts.
        ends: tokens that end a text.
        most: length of the longest prefix, in tokens.

    Returns:
        B lists of token ids, all empty if the batch has no drafts.
    """
    prompts = unpadded(batch["prompt_ids"], batch["prompt_mask"])
    if "draft_ids" not in batch:
        return [[] for _ in prompts]
    drafts = [draft[:most] for draft in unpadded(batch["draft_ids"], batch["draft_mask"])]
    tokens = _right_padded(prompts, drafts, batch["prompt_ids"].device)
    view = stream_forward(model, tokens, frozenset(), statistics=_is_greedy)
    assert view.statistics is not None
    accepted = []
    for draft, greedy, scored in zip(drafts, view.statistics[..., 0].cpu(), view.mask.cpu(), strict=True):
        length = int(greedy[scored].cumprod(dim=0).sum())
        accepted.append(until_end(draft[:length], ends))
    return accepted


def unpadded(ids: Tensor, mask: Tensor) -> list[list[int]]:
    """The rows of ``ids [B, T]`` where ``mask [B, T]`` is not 0."""
    return [row[kept].tolist() for row, kept in zip(ids.cpu(), mask.cpu().bool(), strict=True)]


def until_end(tokens: list[int], ends: Set[int]) -> list[int]:
    """``tokens`` up to the first one that ends a text, which is kept."""
    places = [place for place, token in enumerate(tokens) if token in ends]
    return tokens[: places[0] + 1] if places else tokens


def _is_greedy(logits: Tensor, labels: Tensor) -> Tensor:
    return (logits.argmax(dim=-1) == labels).unsqueeze(-1)


def _right_padded(prompts: Sequence[list[int]], drafts: Sequence[list[int]], device: torch.device) -> TokenBatch:
    """Prompts and drafts in one batch, labeled where the drafts are."""
    ids = [torch.tensor(prompt + draft) for prompt, draft in zip(prompts, drafts, strict=True)]
    labels = [row.clone() for row in ids]
    for row, prompt in zip(labels, prompts, strict=True):
        row[: len(prompt)] = IGNORE_INDEX
    return TokenBatch(
        input_ids=pad_sequence(ids, batch_first=True).to(device),
        attention_mask=pad_sequence([torch.ones_like(row) for row in ids], batch_first=True).to(device),
        labels=pad_sequence(labels, batch_first=True, padding_value=IGNORE_INDEX).to(device),
        index=torch.arange(len(ids), device=device),
    )
