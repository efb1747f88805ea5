"""Columns of the rows of a stream, such as the author of every question."""

from collections.abc import Sequence

from unlearn_pl.data.streams.pairs import PairSource
from unlearn_pl.data.streams.source import Source, StreamSource
from unlearn_pl.data.text.encoder import Encoder, load


def column_of(source: StreamSource, column: str, name: str, encoder: Encoder) -> Sequence[object]:
    """The values of ``column`` in the rows of a stream, in their order.

    Args:
        source: rows, a function that loads them, or a component.
        column: name of the column.
        name: what to call the rows in messages.
        encoder: tokenizes them: those that are too long may be skipped.

    Raises:
        ValueError: if a row has no such column, or the source has no rows.
    """
    if isinstance(source, PairSource):
        return source.values_of(column, encoder)
    if isinstance(source, Source):
        raise ValueError(f"The {name} holds {source}, which has no columns; accepted are questions with answers.")
    rows = load(source, name)
    for i, row in enumerate(rows):
        if column not in row:
            raise ValueError(f"Row {i} of the {name} has no column {column!r}, only {sorted(row)}.")
    return [row[column] for row in rows]  # type: ignore[literal-required]
