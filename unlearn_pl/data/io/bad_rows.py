"""Rows that cannot be used: refused, or left out and counted."""

from collections.abc import Callable, Iterable, Iterator
from typing import Literal, TypeVar, get_args

from lightning.pytorch.utilities import rank_zero_info

from unlearn_pl.data.io.tables import BadRowError, Entry, Record

OnBadRow = Literal["error", "skip"]
T = TypeVar("T")


def usable(
    entries: Iterable[Entry],
    parse: Callable[[Record], T],
    on_bad_row: OnBadRow,
    name: str,
    notes: list[str] | None = None,
) -> Iterator[T]:
    """What ``parse`` makes of every row.

    Args:
        entries: rows with their places.
        parse: raises :class:`~unlearn_pl.data.io.tables.BadRowError` for a row that cannot be used.
        on_bad_row: ``error`` stops there; ``skip`` leaves such rows out.
        name: what to call the rows in messages.
        notes: gets a sentence with the number of rows that were left out, and the reason of the first; by default it
            goes to the log.

    Raises:
        ValueError: naming the place and the reason; also if no row is left.
    """
    used, reasons = 0, []
    for where, row in entries:
        try:
            if isinstance(row, BadRowError):
                raise row
            value = parse(row)
        except BadRowError as error:
            reason = f"{where}: {error}"
            if on_bad_row == "error":
                raise ValueError(f"{name}: {reason}. on_bad_row='skip' leaves such rows out.") from error
            reasons.append(reason)
            continue
        used += 1
        yield value
    left_out = f"{len(reasons)} of {used + len(reasons)} rows are left out; {reasons[0]}" if reasons else ""
    if not used:
        raise ValueError(f"{name}: there is no row that can be used. {left_out}".strip())
    if left_out and notes is None:
        rank_zero_info(f"{name}: {left_out}")
    elif left_out and notes is not None:
        notes.append(left_out)


def text_of(row: Record, column: str) -> str:
    """The text in ``column``.

    Raises:
        BadRowError: if there is no such column, or no text in it.
    """
    if column not in row:
        raise BadRowError(f"there is no column {column!r}, only {sorted(map(str, row))}")
    value = row[column]
    if not isinstance(value, str):
        raise BadRowError(f"the column {column!r} has {value!r}; accepted is text")
    if not value.strip():
        raise BadRowError(f"the column {column!r} is empty")
    return value


def check_on_bad_row(on_bad_row: str) -> None:
    """Checks the argument of this name.

    Raises:
        ValueError: naming what is accepted.
    """
    if on_bad_row not in get_args(OnBadRow):
        raise ValueError(f"on_bad_row={on_bad_row!r} is unknown; accepted are {', '.join(get_args(OnBadRow))}.")
