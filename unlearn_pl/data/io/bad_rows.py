"""Handling of rows that cannot be used: raise, or skip and count."""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Literal, TypeVar, get_args

from lightning.pytorch.utilities import rank_zero_info

from unlearn_pl.data.io.record import BadRowError, Entry, Record

OnBadRow = Literal["error", "skip"]
T = TypeVar("T")
_QUOTED = re.compile(r"""(?P<column>column )?(?P<quote>['"])(?P<text>(?:\\.|(?!(?P=quote)).)*)(?P=quote)""")


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
        parse: raises :class:`~unlearn_pl.data.io.record.BadRowError` for a row that cannot be used.
        on_bad_row: ``error`` raises at the first such row; ``skip`` skips such rows.
        name: what to call the rows in messages.
        notes: gets a sentence with the number of rows that were skipped, and the reason of the first, without
            quotations from it; by default it goes to the log.

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
                raise ValueError(f"{name}: {reason}. on_bad_row='skip' skips such rows.") from error
            reasons.append(f"{where}: {_without_excerpts(str(error), row)}")
            continue
        used += 1
        yield value
    skipped = f"{len(reasons)} of {used + len(reasons)} rows are skipped; {reasons[0]}" if reasons else ""
    if not used:
        raise ValueError(f"{name}: there is no row that can be used. {skipped}".strip())
    if skipped and notes is None:
        rank_zero_info(f"{name}: {skipped}")
    elif skipped and notes is not None:
        notes.append(skipped)


def _without_excerpts(reason: str, row: Record | BadRowError) -> str:
    """``reason`` without quotations from the row, which logs must not keep; names of columns stay."""
    names = {str(name) for name in row} if isinstance(row, Mapping) else set()
    return _QUOTED.sub(lambda found: found[0] if found["column"] or found["text"] in names else "'...'", reason)


def check_on_bad_row(on_bad_row: str) -> None:
    """Checks the argument of this name.

    Raises:
        ValueError: naming what is accepted.
    """
    if on_bad_row not in get_args(OnBadRow):
        raise ValueError(f"on_bad_row={on_bad_row!r} is unknown; accepted are {', '.join(get_args(OnBadRow))}.")
