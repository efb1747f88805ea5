"""A row of a file as it was read, and the reason why it cannot be used."""

from collections.abc import Iterable, Mapping

Record = Mapping[str, object]
"""A row: column to value."""


class BadRowError(ValueError):
    """A row that cannot be used, and why."""


Entry = tuple[str, Record | BadRowError]
"""The place of a row (``line 3 of tickets.csv``), and the row, or why it could not be read."""


def text_of(row: Record, column: str) -> str:
    """The text in ``column``.

    Raises:
        BadRowError: if there is no such column, or no text in it.
    """
    check_columns(row, (column,))
    value = row[column]
    if not isinstance(value, str):
        raise BadRowError(f"the column {column!r} has {value!r}; accepted is text")
    if not value.strip():
        raise BadRowError(f"the column {column!r} is empty")
    return value


def check_columns(row: Record, columns: Iterable[str]) -> None:
    """Checks that ``row`` has all ``columns``.

    Raises:
        BadRowError: naming the first missing column, and the columns that are there.
    """
    for column in columns:
        if column not in row:
            raise BadRowError(f"there is no column {column!r}, only {sorted(map(str, row))}")
