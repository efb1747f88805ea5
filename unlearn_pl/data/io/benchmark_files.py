"""Finding and reading the files of benchmarks, which come under several names and in several formats."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from unlearn_pl.data.io.bad_rows import usable
from unlearn_pl.data.io.tables import Record, Table, read_entries

T = TypeVar("T")
EXTENSIONS = (".jsonl", ".json", ".jsonl.gz", ".json.gz", ".csv", ".parquet", ".lines.txt", ".txt", ".txt.gz")


def find_file(folder: str | Path, names: Sequence[str]) -> str:
    """The first file of ``folder`` that has one of the ``names``, and an extension of :data:`EXTENSIONS`.

    The shards of downloaded Parquet data (``<name>-00000-of-00001.parquet``) are found, too, when there is one.

    Args:
        folder: where to look.
        names: paths inside of the folder, without extension, the preferred one first.

    Raises:
        ValueError: if there is none, or more than one shard.
    """
    for name in names:
        for extension in EXTENSIONS:
            path = Path(folder) / f"{name}{extension}"
            if path.is_file():
                return str(path)
        shards = sorted(Path(folder).glob(f"{name}-*-of-*.parquet"))
        if len(shards) > 1:
            raise ValueError(f"{folder} has {len(shards)} shards of {name}; accepted is one file.")
        if shards:
            return str(shards[0])
    raise ValueError(
        f"The folder {folder} has no file {' or '.join(names)}, with one of the extensions {', '.join(EXTENSIONS)}."
    )


def read_records(table: Table, parse: Callable[[Record], T], name: str) -> list[T]:
    """What ``parse`` makes of every row of ``table``.

    Args:
        table: a file, a dataset of the hub, or rows.
        parse: raises :class:`~unlearn_pl.data.io.tables.BadRowError` for a row that cannot be used.
        name: what to call the rows in messages.

    Raises:
        ValueError: naming the place of the first row that cannot be used.
    """
    return list(usable(read_entries(table), parse, "error", name))
