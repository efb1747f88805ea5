"""All rows of a table at once; the first row that cannot be used is an error that names its place."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar, cast

from unlearn_pl.data.io.entries import Table, read_entries
from unlearn_pl.data.io.formats import FORMATS_WITH_COLUMNS, format_of, read_json_lines, read_text
from unlearn_pl.data.io.record import BadRowError, Entry, Record, check_columns
from unlearn_pl.data.text.encoder import Row

T = TypeVar("T")


def read_rows(table: Table, columns: Sequence[str] = ("question", "answer")) -> list[Row]:
    """Rows with certain columns, from a file or from anything else that has rows.

    Args:
        table: a file (jsonl, json, csv, tsv, parquet, the text formats also with .gz; JSON Lines when it has another
            extension), a folder of such files, a :class:`~unlearn_pl.data.HubDataset`, or rows in memory.
        columns: columns that every row must have.

    Raises:
        ValueError: if the file is missing, a row cannot be read, or a column is missing; naming the file and line.
    """

    def parse(row: Record) -> Row:
        check_columns(row, columns)
        return cast(Row, row)

    if isinstance(table, str | Path):
        path = Path(table)
        _check_exists(path)
        if path.is_file() and format_of(path) not in FORMATS_WITH_COLUMNS:
            return list(_parsed(read_json_lines(path), parse))
    return list(_parsed(read_entries(table), parse))


def read_lines(path: str | Path) -> list[str]:
    """Lines of a text file, whatever its extension, without empty ones and without white space around them.

    Raises:
        ValueError: if the file is missing, or not UTF-8.
    """
    _check_exists(Path(path))
    return list(_parsed(read_text(Path(path)), lambda row: str(row["text"]).strip()))


def read_records(table: Table, parse: Callable[[Record], T], name: str) -> list[T]:
    """What ``parse`` makes of every row of ``table``; see :func:`iterate_records`."""
    return list(iterate_records(table, parse, name))


def iterate_records(table: Table, parse: Callable[[Record], T], name: str) -> Iterator[T]:
    """What ``parse`` makes of every row of ``table``, read on demand.

    Args:
        table: a file or folder, a dataset of the hub, or rows.
        parse: raises :class:`~unlearn_pl.data.io.record.BadRowError` for a row that cannot be used.
        name: what to call the rows in messages.

    Raises:
        ValueError: naming the place of the first row that cannot be used; also if there are no rows.
    """
    is_empty = True
    for record in _parsed(read_entries(table), parse, f"{name}: "):
        is_empty = False
        yield record
    if is_empty:
        raise ValueError(f"{name}: there is no row that can be used.")


def _check_exists(path: Path) -> None:
    if not path.exists():
        raise ValueError(f"The folder {path.parent} has no file {path.name}, which is expected there.")


def _parsed(entries: Iterable[Entry], parse: Callable[[Record], T], prefix: str = "") -> Iterator[T]:
    for where, row in entries:
        try:
            if isinstance(row, BadRowError):
                raise row
            yield parse(row)
        except BadRowError as error:
            raise ValueError(f"{prefix}{where}: {error}.") from error
