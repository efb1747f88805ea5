"""Description of rows in memory for records, which must not hold the data that is to be forgotten."""

from collections.abc import Collection, Iterator, Mapping, Sized
from pathlib import Path
from typing import Any, cast

from unlearn_pl.data.io.entries import Table, table_fingerprint
from unlearn_pl.data.io.in_memory import kept, rows_of
from unlearn_pl.recording import UNRECORDABLE, Recorded


def described(table: Any) -> Any:
    """What a record keeps of ``table``: paths and components as they are, of rows in memory their count and SHA-256.

    Args:
        table: a path, a component, None, or rows.

    Returns:
        ``table``, or ``{"unrecordable": description}``. Of rows whose number is not known, such as those of a
        generator, the description is the type alone, since they may be readable only once.

    Raises:
        ValueError: if ``table`` has several splits.
    """
    if table is None or isinstance(table, str | Path | Recorded):
        return table
    rows = None if isinstance(table, Iterator) else kept(table)
    if not isinstance(rows, Sized):
        return {UNRECORDABLE: f"a live {type(table).__name__}"}
    count = sum(1 for _ in rows_of(rows)) if isinstance(rows, Mapping) else len(rows)
    return {UNRECORDABLE: f"{count} rows in memory, SHA-256 {table_fingerprint(cast(Table, rows))}"}


def with_described(arguments: Mapping[str, Any], names: Collection[str]) -> dict[str, Any]:
    """``arguments``, those called ``names`` as :func:`described`.

    Args:
        arguments: arguments by name.
        names: those that may be rows in memory.
    """
    return {name: described(value) if name in names else value for name, value in arguments.items()}
