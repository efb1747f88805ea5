"""Rows of a user's own files, one after the other, with the place where each was found."""

import csv
import gzip
import hashlib
import json
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import chain
from pathlib import Path
from typing import TextIO, cast

from unlearn_pl.data.io.hub_dataset import HubDataset

Record = Mapping[str, object]
Table = str | HubDataset | Iterable[Mapping[str, object] | str] | Path
"""Rows: path of a file or folder, name on the hub, or as they are; a plain text stands for ``{"text": ...}``.

``Path`` keeps jsonargparse from taking the file for a configuration of the other types, and reading it. It stands at
the end because the other types would be written as paths, too.
"""
Entry = tuple[str, "Record | BadRowError"]
"""Where a row was found (``line 3 of tickets.csv``), and the row, or why it could not be read."""


class BadRowError(ValueError):
    """A row that cannot be used, and why."""


def read_entries(table: Table, *, one_per_line: bool | None = None, encoding: str = "utf-8") -> Iterator[Entry]:
    """The rows of ``table`` in their order, read as they are asked for.

    Args:
        table: a file or folder (jsonl, json, csv, tsv, parquet, txt, md, the text formats also with .gz; or a folder
            that ``datasets`` has saved), a :class:`HubDataset`, or rows.
        one_per_line: whether every line of a text file is a row, or the whole file; None for lines of a single file,
            and whole files of a folder.
        encoding: encoding of text files; a byte order mark goes before it.

    Raises:
        ValueError: if there is no such file or it is of an unknown kind.
    """
    if isinstance(table, str | Path):
        for path in files_of(table):
            lines = Path(table).is_file() if one_per_line is None else one_per_line
            yield from _read_file(path, lines, encoding)
    else:
        yield from _numbered(table.rows() if isinstance(table, HubDataset) else table, name_of(table))


def name_of(table: Table) -> str:
    """What to call ``table`` in messages."""
    return str(table) if isinstance(table, str | Path | HubDataset) else "the given rows"


def files_of(path: str | Path) -> list[Path]:
    """The files that hold the rows of ``path``: itself, or the readable ones inside, in the order of their names.

    Raises:
        ValueError: if there are none.
    """
    root = Path(path)
    if root.is_file():
        return [root]
    if not root.is_dir():
        raise ValueError(f"There is no file or folder {str(path)!r}.")
    if (root / "state.json").is_file() or (root / "dataset_dict.json").is_file():
        return [root]
    found = sorted(file for file in root.rglob("*") if file.is_file() and _kind(file) in _READERS)
    if not found:
        raise ValueError(f"The folder {str(path)!r} has no file of a kind that is read; accepted are {ACCEPTED}.")
    return found


def table_fingerprint(table: Table) -> str:
    """SHA-256 of what is read from ``table``: names and dates of files do not matter, unlike kinds and contents."""
    digest = hashlib.sha256()
    if isinstance(table, str | Path):
        # A text file is read by lines where it is given, and as a whole where its folder is.
        digest.update(b"file" if Path(table).is_file() else b"folder")
        for path in chain.from_iterable(sorted(p.rglob("*")) if p.is_dir() else [p] for p in files_of(table)):
            if path.is_file():
                digest.update(_kind(path).encode())
                with path.open("rb") as file:
                    digest.update(hashlib.file_digest(file, "sha256").digest())
    elif isinstance(table, HubDataset):
        digest.update(table.fingerprint().encode())
    elif hasattr(table, "_fingerprint"):
        digest.update(str(table._fingerprint).encode())
    else:
        for row in table:
            digest.update(json.dumps(row, sort_keys=True, default=str).encode() + b"\n")
    return digest.hexdigest()


def _numbered(rows: Iterable[Record | str], source: str) -> Iterator[Entry]:
    for number, row in enumerate(rows, start=1):
        yield f"row {number} of {source}", {"text": row} if isinstance(row, str) else row


def _read_file(path: Path, lines: bool, encoding: str) -> Iterator[Entry]:
    if path.is_dir():
        return _saved(path)
    reader = _READERS.get(_kind(path))
    if reader is None:
        raise ValueError(f"{path} is of a kind that is not read; accepted are {ACCEPTED}.")
    return reader(path, encoding, lines)


def _kind(path: Path) -> str:
    """Extension without that of a compression."""
    suffixes = [suffix.lower() for suffix in path.suffixes]
    if suffixes[-1:] == [".gz"]:
        suffixes.pop()
    return suffixes[-1] if suffixes else ""


# A reader per kind of file -------------------------------------------------------------------------------------------


def _open(path: Path, encoding: str) -> TextIO:
    """The file as text; a byte that is not of ``encoding`` becomes a surrogate, which :func:`_decoded` finds."""
    opener = gzip.open if path.suffix.lower() == ".gz" else open
    with opener(path, "rb") as file:
        mark = file.read(4)
    if mark.startswith((b"\xff\xfe", b"\xfe\xff")):
        encoding = "utf-16"
    elif mark.startswith(b"\xef\xbb\xbf"):
        encoding = "utf-8-sig"
    # Lines end at \n alone: JSON strings may hold the other line separators of Unicode as they are.
    return cast(TextIO, opener(path, "rt", encoding=encoding, errors="surrogateescape", newline="\n"))


def _decoded(text: str) -> str:
    """``text``.

    Raises:
        BadRowError: if it holds a byte that could not be decoded.
    """
    try:
        text.encode()
    except UnicodeEncodeError as error:
        byte = ord(text[error.start]) - 0xDC00
        raise BadRowError(
            f"byte 0x{byte:02x} at character {error.start + 1} is not of the file's encoding. Accepted is one encoding "
            "for the whole file, UTF-8 unless another is given as encoding, such as 'cp1252'"
        ) from None
    return text


def _read_json_lines(path: Path, encoding: str, lines: bool) -> Iterator[Entry]:
    with _open(path, encoding) as file:
        for number, line in enumerate(file, start=1):
            if line.strip():
                yield f"line {number} of {path}", _tried(_json_row, line)


def _read_json(path: Path, encoding: str, lines: bool) -> Iterator[Entry]:
    """A list of rows, which is read as a whole, or JSON Lines, which many files named ``.json`` are."""
    with _open(path, encoding) as file:
        start = file.read(4096).lstrip()[:1]
    if start != "[":
        yield from _read_json_lines(path, encoding, lines)
        return
    with _open(path, encoding) as file:
        try:
            rows = json.loads(_decoded(file.read()))
        except (json.JSONDecodeError, BadRowError) as error:
            raise ValueError(f"{path} is not a JSON list ({error}).") from error
    for number, row in enumerate(rows, start=1):
        yield f"row {number} of {path}", _tried(_as_row, row)


def _read_csv(path: Path, encoding: str, lines: bool) -> Iterator[Entry]:
    # The limit on a field, 128 KB, is too low for documents; it is the module's and not the reader's.
    limit = csv.field_size_limit(sys.maxsize)
    try:
        with _open(path, encoding) as file:
            reader = csv.DictReader(file, delimiter="\t" if _kind(path) == ".tsv" else ",", strict=True)
            while True:
                try:
                    row: dict[str, str | None] | None = next(reader, None)
                except csv.Error as error:
                    yield f"line {reader.reader.line_num} of {path}", BadRowError(f"it is not CSV ({error})")
                    continue
                if row is None:
                    return
                yield f"line {reader.line_num} of {path}", _tried(_csv_row, row)
    finally:
        csv.field_size_limit(limit)


def _read_parquet(path: Path, encoding: str, lines: bool) -> Iterator[Entry]:
    import pyarrow.parquet as parquet

    number = 0
    for batch in parquet.ParquetFile(path).iter_batches(batch_size=1000):
        for row in batch.to_pylist():
            number += 1
            yield f"row {number} of {path}", row


def _read_text(path: Path, encoding: str, lines: bool) -> Iterator[Entry]:
    with _open(path, encoding) as file:
        if lines:
            for number, line in enumerate(file, start=1):
                if line.strip():
                    yield f"line {number} of {path}", _tried(_text_row, line.rstrip("\r\n"))
        else:
            yield str(path), _tried(_text_row, file.read())


def _saved(path: Path) -> Iterator[Entry]:
    """A folder that ``Dataset.save_to_disk`` has written."""
    from datasets import DatasetDict, load_from_disk

    dataset = load_from_disk(str(path))
    if isinstance(dataset, DatasetDict):
        raise ValueError(f"{path} has the splits {sorted(dataset)}; accepted is the folder of one of them.")
    return _numbered(dataset, str(path))


# Rows ----------------------------------------------------------------------------------------------------------------


def _tried(parse: Callable[..., Record], value: object) -> Record | BadRowError:
    try:
        return parse(value)
    except BadRowError as error:
        return error


def _json_row(line: str) -> Record:
    try:
        return _as_row(json.loads(_decoded(line)))
    except json.JSONDecodeError as error:
        raise BadRowError(f"it is not JSON ({error}); expected is one JSON object a line") from error


def _as_row(value: object) -> Record:
    if isinstance(value, str):
        return {"text": value}
    if not isinstance(value, dict):
        raise BadRowError(f"it is not a JSON object but {str(value)[:60]!r}")
    return value


def _csv_row(row: dict[str | None, str | list[str] | None]) -> Record:
    if None in row or None in row.values():
        raise BadRowError(f"it has more or fewer fields than the columns {[name for name in row if name is not None]}")
    return {_decoded(str(name)): _decoded(str(value)) for name, value in row.items()}


def _text_row(text: str) -> Record:
    return {"text": _decoded(text)}


_READERS: Mapping[str, Callable[[Path, str, bool], Iterator[Entry]]] = {
    ".jsonl": _read_json_lines,
    ".ndjson": _read_json_lines,
    ".json": _read_json,
    ".csv": _read_csv,
    ".tsv": _read_csv,
    ".parquet": _read_parquet,
    ".txt": _read_text,
    ".md": _read_text,
}
ACCEPTED = ", ".join(_READERS)
"""Kinds of files that are read; those of text also compressed with gzip."""
