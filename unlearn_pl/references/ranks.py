"""Work that rank 0 does for all ranks."""

from collections.abc import Callable
from typing import TypeVar

from torch import distributed

from unlearn_pl.references.context import ReferenceContext

T = TypeVar("T")


def on_rank_zero(function: Callable[[], T], context: ReferenceContext) -> T:
    """Call ``function`` on rank 0; return its result, or raise its exception, on every rank.

    Every rank must call it, and returns after rank 0 has finished.

    Args:
        function: called on rank 0 only; its result must support pickling.
        context: number of this rank, and of all.
    """
    value: T | None = None
    error: Exception | None = None
    if context.rank == 0:
        try:
            value = function()
        except Exception as raised:
            error = raised
    outcome = [value, error]
    if context.world_size > 1:
        distributed.broadcast_object_list(outcome)
    value, error = outcome  # type: ignore[assignment]
    if error is not None:
        raise error
    return value  # type: ignore[return-value]


def gather_on_rank_zero(part: T, context: ReferenceContext) -> list[T]:
    """The ``part`` of every rank, on rank 0; an empty list on the others, all of which must call it."""
    if context.world_size == 1:
        return [part]
    parts: list[T] = [part] * context.world_size if context.rank == 0 else []
    distributed.gather_object(part, parts or None)
    return parts
