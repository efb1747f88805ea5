"""The one reader of rows: from files, folders, datasets of the hub and memory, each row with its place."""

import hashlib
import json
from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path

from unlearn_pl.data.io.contained import check_contained, check_saved
from unlearn_pl.data.io.formats import ACCEPTED, FORMATS, format_of, numbered, read_file
from unlearn_pl.data.io.hub_dataset import HubDataset
from unlearn_pl.data.io.in_memory import rows_of
from unlearn_pl.data.io.record import Entry, Record

Table = str | HubDataset | Iterable[Record | str] | Path
"""Rows: path of a file or folder, a dataset of the hub, or rows in memory; a plain text stands for ``{"text": ...}``.

``Path`` keeps jsonargparse from taking the file for a configuration of the other types, and reading it. It stands at
the end because the other types would be written as paths, too.
"""


def read_entries(table: Table, *, one_per_line: bool | None = None, encoding: str = "utf-8") -> Iterator[Entry]:
    """The rows of ``table`` in their order, read on demand.

    Args:
        table: a file or folder (jsonl, json, csv, tsv, parquet, txt, md, the text formats also with .gz; or a folder
            that ``datasets`` has saved), a :class:`HubDataset`, or rows in any container that
            :func:`~unlearn_pl.data.io.in_memory.rows_of` reads.
        one_per_line: whether every line of a text file is a row, or the whole file; None for lines of a single file,
            and whole files of a folder.
        encoding: encoding of text files; a byte order mark takes precedence.

    Raises:
        ValueError: if there is no such file or its format is unknown; naming the splits, if there are several.
    """
    if isinstance(table, str | Path):
        for path in files_of(table):
            lines = Path(table).is_file() if one_per_line is None else one_per_line
            yield from read_file(path, encoding, lines)
    else:
        yield from numbered(rows_of(table.rows() if isinstance(table, HubDataset) else table), name_of(table))


def name_of(table: Table) -> str:
    """What to call ``table`` in messages."""
    return str(table) if isinstance(table, str | Path | HubDataset) else "the given rows"


def files_of(path: str | Path) -> list[Path]:
    """The files that hold the rows of ``path``: itself, or the readable ones inside, in the order of their names.

    Raises:
        ValueError: if there are none, or one is a link that leads out of the folder.
    """
    root = Path(path)
    if root.is_file():
        return [root]
    if not root.is_dir():
        raise ValueError(f"There is no file or folder {str(path)!r}.")
    if (root / "state.json").is_file() or (root / "dataset_dict.json").is_file():
        check_saved(root)
        return [root]
    found = sorted(
        check_contained(file, root) for file in root.rglob("*") if file.is_file() and format_of(file) in FORMATS
    )
    if not found:
        raise ValueError(f"The folder {str(path)!r} has no file of a kind that is read; accepted are {ACCEPTED}.")
    return found


def table_fingerprint(table: Table) -> str:
    """SHA-256 of what is read from ``table``: names and dates of files do not matter, unlike formats and contents."""
    digest = hashlib.sha256()
    if isinstance(table, str | Path):
        # A text file is read by lines where it is given, and as a whole where its folder is.
        digest.update(b"file" if Path(table).is_file() else b"folder")
        for path in chain.from_iterable(sorted(p.rglob("*")) if p.is_dir() else [p] for p in files_of(table)):
            if path.is_file():
                digest.update(format_of(path).encode())
                with path.open("rb") as file:
                    digest.update(hashlib.file_digest(file, "sha256").digest())
    elif isinstance(table, HubDataset):
        digest.update(table.fingerprint().encode())
    elif hasattr(table, "_fingerprint"):
        digest.update(str(table._fingerprint).encode())
    else:
        for row in rows_of(table):
            digest.update(_as_text(row).encode() + b"\n")
    return digest.hexdigest()


def _as_text(row: object) -> str:
    try:
        return json.dumps(row, sort_keys=True, default=str)
    except TypeError:  # keys that are no texts
        return repr(row)
