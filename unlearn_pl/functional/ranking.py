"""Selection of the largest of many scores, without sorting them or holding all of them in memory.

Non-negative fp32 numbers are ordered like their bits. So the bits of the k-th largest score are found from two
histograms, of the upper and of the lower half, over scores that are computed tensor by tensor and then dropped. Exactly
k elements are marked: ties with the k-th largest go to the first ones.
"""

from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor, distributed

Scores = Callable[[], Tensor]
"""Computes the scores ``[...]`` of one (shard of a) tensor: fp32, not negative, finite; the same on every call."""

CHUNK = 1 << 20
"""Elements that are processed together: all temporary memory is a few times this."""
HALF = 16
BINS = 1 << HALF


def mark_largest(parts: Sequence[Scores], keep: int, sharded: bool = False) -> list[Tensor]:
    """Mark the ``keep`` largest elements of all ``parts`` together.

    Args:
        parts: functions that compute the scores ``[...]`` of each tensor.
        keep: number of elements to mark, over all ranks.
        sharded: every rank holds its part of each tensor, in the order of the ranks, and all ranks call this.

    Returns:
        A bool tensor ``[...]`` per part, with the shape of its scores.
    """
    if keep < 1:
        return [torch.zeros_like(part(), dtype=torch.bool) for part in parts]
    bits, larger = _kth_largest(parts, keep, sharded)
    quotas = _quotas([_count(part(), bits) for part in parts], keep - larger, sharded)
    return [_mark(part(), bits, quota) for part, quota in zip(parts, quotas, strict=True)]


def kth_largest(parts: Sequence[Scores], k: int, sharded: bool = False) -> float:
    """The ``k``-th largest of the scores ``[...]`` of all ``parts``, over all ranks; 1 for the largest."""
    return torch.tensor(_kth_largest(parts, k, sharded)[0], dtype=torch.int32).view(torch.float32).item()


def mark_rows(scores: Tensor, keep: float) -> Tensor:
    """Mark the share ``keep`` of largest elements in every row of ``scores [out, ...]``; ties go to the first."""
    rows = scores.flatten(1)
    marked = torch.zeros_like(rows, dtype=torch.bool)
    count = round(keep * rows.shape[1])
    height = max(1, CHUNK // max(1, rows.shape[1]))
    for some, marks in zip(rows.split(height), marked.split(height), strict=True):
        order = some.sort(dim=1, descending=True, stable=True).indices
        marks.scatter_(1, order[:, :count], True)
    return marked.view_as(scores)


def _kth_largest(parts: Sequence[Scores], k: int, sharded: bool) -> tuple[int, int]:
    """Bits of the k-th largest score, and the number of larger scores."""
    upper, larger = _bin_of(_histogram(parts, None, sharded), k)
    lower, larger_within = _bin_of(_histogram(parts, upper, sharded), k - larger)
    return upper << HALF | lower, larger + larger_within


def _histogram(parts: Sequence[Scores], upper: int | None, sharded: bool) -> Tensor:
    """Counts of each upper half, or of each lower half among the scores with the upper half ``upper``."""
    total: Tensor | None = None
    for part in parts:
        for bits in _chunks(part()):
            halves = bits >> HALF if upper is None else bits[bits >> HALF == upper] & (BINS - 1)
            counts = torch.bincount(halves, minlength=BINS)
            total = counts if total is None else total.add_(counts)
    assert total is not None
    if sharded:
        distributed.all_reduce(total)
    return total


def _bin_of(counts: Tensor, k: int) -> tuple[int, int]:
    """The bin of the k-th largest, and the number of elements in the bins above."""
    from_above = counts.flip(0).cumsum(0)
    position = int((from_above < k).sum())
    return len(counts) - 1 - position, int(from_above[position - 1]) if position else 0


def _count(scores: Tensor, value: int) -> int:
    return sum(int((bits == value).count_nonzero()) for bits in _chunks(scores))


def _quotas(ties: Sequence[int], left: int, sharded: bool) -> list[int]:
    """Number of this rank's ties to mark in each part, if the first ``left`` of all ties are marked."""
    counts, rank = torch.tensor([ties]), 0
    if sharded:
        everyone: list[list[int]] = [[]] * distributed.get_world_size()
        distributed.all_gather_object(everyone, list(ties))
        counts, rank = torch.tensor(everyone), distributed.get_rank()
    per_part = counts.sum(dim=0)
    before = per_part.cumsum(0) - per_part + counts[:rank].sum(dim=0)
    return [int(min(max(left - b, 0), own)) for b, own in zip(before.tolist(), ties, strict=True)]


def _mark(scores: Tensor, value: int, quota: int) -> Tensor:
    marked = torch.empty(scores.numel(), dtype=torch.bool, device=scores.device)
    for bits, marks in zip(_chunks(scores), marked.split(CHUNK), strict=True):
        torch.gt(bits, value, out=marks)
        ties = bits == value
        if quota and (found := int(ties.count_nonzero())):
            marks |= ties if found <= quota else ties & (ties.cumsum(0) <= quota)
            quota -= min(found, quota)
    return marked.view(scores.shape)


def _chunks(scores: Tensor) -> Iterator[Tensor]:
    return iter(scores.reshape(-1).view(torch.int32).split(CHUNK))
