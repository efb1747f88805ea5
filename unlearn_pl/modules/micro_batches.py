"""Batches of plain data loaders, split into micro-batches."""

from collections.abc import Mapping, Sequence
from typing import Any, cast

from torch import Tensor

from unlearn_pl.host_copies import on_both
from unlearn_pl.types import Batch, Window


def micro_batches(batch: Window | Mapping[str, Batch], size: int | None) -> Window:
    """``batch`` as a window: each stream is split into micro-batches, unless it is already.

    Args:
        batch: per stream a list of micro-batches, or tensors (and lists) whose first dimension runs over the examples.
        size: examples per micro-batch; None to keep a batch whole.

    Raises:
        ValueError: if ``batch`` is not a mapping of streams.
    """
    if not isinstance(batch, Mapping):
        raise ValueError(
            f"A batch is a {type(batch).__name__}; accepted: a mapping of stream to batch, such as those of "
            "CombinedLoader({'forget': ..., 'retain': ...})."
        )
    return {stream: list(_split(given, size)) for stream, given in batch.items()}


def _split(given: Batch | Sequence[Batch], size: int | None) -> Sequence[Batch]:
    if not isinstance(given, Mapping):
        return given
    count = len(next(iter(given.values())))
    if size is None or size >= count:
        return [given]
    return [cast(Batch, {name: _part(v, i, size) for name, v in given.items()}) for i in range(0, count, size)]


def _part(values: Tensor | Sequence[object], start: int, size: int) -> object:
    def part(whole: Any) -> Any:
        return whole[start : start + size]

    return on_both(part, values) if isinstance(values, Tensor) else part(values)
