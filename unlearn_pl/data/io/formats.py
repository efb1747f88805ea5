"""Readers of file formats: rows one after the other, each with its place in the file."""

import csv
import io
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TextIO

from unlearn_pl.data.io.arrow_files import check_arrow_stream, parquet_rows
from unlearn_pl.data.io.bounded_gzip import BoundedGzip
from unlearn_pl.data.io.contained import saved_files
from unlearn_pl.data.io.damaged import readable
from unlearn_pl.data.io.in_memory import check_unique, plain
from unlearn_pl.data.io.record import BadRowError, Entry, Record
from unlearn_pl.results.json_file import parse_json


def read_file(path: Path, encoding: str, one_per_line: bool) -> Iterator[Entry]:
    """The rows of one file, or of a folder that ``datasets`` has saved, read on demand.

    Args:
        path: the file; its extension names its format.
        encoding: encoding of text formats; a byte order mark takes precedence.
        one_per_line: whether every line of plain text is a row, or the whole file.

    Raises:
        ValueError: if its format is unknown, or the file as a whole cannot be read.
    """
    if path.is_dir():
        return readable(_read_saved(path), path)
    reader = _READERS.get(format_of(path))
    if reader is None:
        raise ValueError(f"{path} is of a kind that is not read; accepted are {ACCEPTED}.")
    return readable(reader(path, encoding, one_per_line), path)


def format_of(path: Path) -> str:
    """The extension of ``path`` in lower case, without that of a compression."""
    suffixes = [suffix.lower() for suffix in path.suffixes]
    if suffixes[-1:] == [".gz"]:
        suffixes.pop()
    return suffixes[-1] if suffixes else ""


def read_json_lines(path: Path, encoding: str = "utf-8", one_per_line: bool = True) -> Iterator[Entry]:
    """A JSON object a line; empty lines count, but are no rows.

    Raises:
        ValueError: if the file as a whole cannot be read.
    """
    return readable(_lines(path, encoding, _json_row), path)


def read_text(path: Path, encoding: str = "utf-8", one_per_line: bool = True) -> Iterator[Entry]:
    """Plain text as rows ``{"text": ...}``: every line that is not empty, or the whole file.

    Raises:
        ValueError: if the file as a whole cannot be read.
    """
    return readable(_lines(path, encoding, _line_row) if one_per_line else _whole(path, encoding), path)


def numbered(rows: Iterable[Record | str], source: str) -> Iterator[Entry]:
    """Rows in memory with their numbers from 1; a plain text becomes ``{"text": ...}``.

    Args:
        rows: the rows.
        source: what to call them in messages.
    """
    for number, row in enumerate(rows, start=1):
        yield f"row {number} of {source}", _tried(_memory_row, row)


def _lines(path: Path, encoding: str, parse: Callable[[str], Record]) -> Iterator[Entry]:
    with _open(path, encoding) as file:
        for number, line in enumerate(file, start=1):
            if line.strip():
                yield f"line {number} of {path}", _tried(parse, line)


def _whole(path: Path, encoding: str) -> Iterator[Entry]:
    with _open(path, encoding) as file:
        yield str(path), _tried(_text_row, file.read())


def _read_json(path: Path, encoding: str, one_per_line: bool) -> Iterator[Entry]:
    """A list of rows, which is read as a whole, or JSON Lines, which many files named ``.json`` are."""
    with _open(path, encoding) as file:
        start = file.read(4096).lstrip()[:1]
    if start != "[":
        yield from read_json_lines(path, encoding)
        return
    with _open(path, encoding) as file:
        try:
            rows = parse_json(_decoded(file.read()))
        except ValueError as error:
            raise ValueError(f"{path} is not a JSON list ({error}).") from error
    for number, row in enumerate(rows, start=1):
        yield f"row {number} of {path}", _tried(_as_row, row)


def _read_csv(path: Path, encoding: str, one_per_line: bool) -> Iterator[Entry]:
    # The limit on a field, 128 KB, is too low for documents; it is the module's and not the reader's.
    limit = csv.field_size_limit(sys.maxsize)
    try:
        with _open(path, encoding) as file:
            yield from _csv_entries(file, path, "\t" if format_of(path) == ".tsv" else ",")
    finally:
        csv.field_size_limit(limit)


def _csv_entries(file: Iterable[str], path: Path, delimiter: str) -> Iterator[Entry]:
    read: list[str] = []  # the lines of the current row
    reader = csv.DictReader(_remembered(file, read), delimiter=delimiter, strict=True)
    try:
        names = [_decoded(name) for name in reader.fieldnames or ()]
    except (csv.Error, BadRowError) as error:
        raise ValueError(f"The names of the columns of {path} cannot be read ({error}).") from error
    check_unique(names, str(path))
    while True:
        read.clear()
        try:
            row = next(reader, None)
        except csv.Error as error:
            parsed: Record | BadRowError = BadRowError(f"it is not CSV ({error})")
        else:
            if row is None:
                return
            parsed = _tried(_csv_row, row)
        last = reader.reader.line_num
        if isinstance(parsed, BadRowError) and len(read) > 1:
            yield from _lost(parsed, read, last, path)
        else:
            yield f"line {last} of {path}", parsed


def _remembered(lines: Iterable[str], read: list[str]) -> Iterator[str]:
    for line in lines:
        read.append(line)
        yield line


def _lost(reason: BadRowError, read: Sequence[str], last: int, path: Path) -> Iterator[Entry]:
    """An entry for every line of a row that cannot be used: after an unclosed quote, each of them may be a row."""
    numbers = [number for number, line in enumerate(read, start=last - len(read) + 1) if line.strip()]
    first = numbers[0]
    reason = BadRowError(f"{reason}; it ends at line {last}, so that a quote is perhaps not closed")
    for number in numbers:
        yield f"line {number} of {path}", reason if number == first else BadRowError(f"it is part of line {first}")


def _read_parquet(path: Path, encoding: str, one_per_line: bool) -> Iterator[Entry]:
    for number, row in enumerate(parquet_rows(path), start=1):
        yield f"row {number} of {path}", row


def _read_saved(path: Path) -> Iterator[Entry]:
    """A folder that ``Dataset.save_to_disk`` has written."""
    from datasets import DatasetDict, load_from_disk

    for file in saved_files(path):
        check_arrow_stream(file)
    dataset = load_from_disk(str(path))
    if isinstance(dataset, DatasetDict):
        raise ValueError(f"{path} has the splits {sorted(dataset)}; accepted is the folder of one of them.")
    yield from numbered(dataset, str(path))


# Text and rows -------------------------------------------------------------------------------------------------------


def _open(path: Path, encoding: str) -> TextIO:
    """The file as text; a byte that is not of ``encoding`` becomes a surrogate, which :func:`_decoded` finds."""
    with _unpacked(path) as file:
        mark = file.read(4)
    if mark.startswith((b"\xff\xfe", b"\xfe\xff")):
        encoding = "utf-16"
    elif mark.startswith(b"\xef\xbb\xbf"):
        encoding = "utf-8-sig"
    # Lines end at \n alone: JSON strings may hold the other line separators of Unicode as they are.
    return io.TextIOWrapper(_unpacked(path), encoding=encoding, errors="surrogateescape", newline="\n")


def _unpacked(path: Path) -> io.BufferedReader:
    """The bytes of the file; compressed ones up to a limit, since a few kilobytes may stand for gigabytes."""
    with path.open("rb") as file:
        is_compressed = file.read(2) == _GZIP
    return io.BufferedReader(BoundedGzip(path)) if is_compressed else path.open("rb")


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


def _tried(parse: Callable[..., Record], value: object) -> Record | BadRowError:
    try:
        return parse(value)
    except BadRowError as error:
        return error
    except RecursionError:
        return BadRowError("its values are nested too deeply; accepted are a few hundred levels")


def _json_row(line: str) -> Record:
    try:
        parsed = parse_json(_decoded(line))
    except BadRowError:
        raise
    except ValueError as error:
        raise BadRowError(f"it is not JSON ({error}); expected is one JSON object a line") from error
    return _as_row(parsed)


def _memory_row(value: object) -> Record:
    if not isinstance(value, str | Mapping):
        raise BadRowError(f"it is {str(value)[:60]!r}; accepted is a mapping of columns to values, or a text")
    return _as_row(plain(value))


def _as_row(value: object) -> Record:
    if isinstance(value, str):
        value = {"text": value}
    if not isinstance(value, Mapping):
        raise BadRowError(f"it is not a JSON object but {str(value)[:60]!r}")
    _check_surrogates(value)
    return value


def _check_surrogates(value: object) -> None:
    """Checks that every text in ``value`` can be encoded.

    Raises:
        BadRowError: naming half of a pair of surrogates, which JSON can spell though it is no character.
    """
    if isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError as error:
            raise BadRowError(
                f"character {error.start + 1} of a text that begins {value[:20]!r} is {value[error.start]!r}, one half "
                "of a pair of surrogates; accepted are characters that can be written as UTF-8"
            ) from None
    elif isinstance(value, Mapping):
        for key, item in value.items():
            _check_surrogates(key)
            _check_surrogates(item)
    elif isinstance(value, list | tuple):
        for item in value:
            _check_surrogates(item)


def _csv_row(row: dict[str | None, str | list[str] | None]) -> Record:
    if None in row or None in row.values():
        raise BadRowError(f"it has more or fewer fields than the columns {[name for name in row if name is not None]}")
    return {_decoded(str(name)): _decoded(str(value)) for name, value in row.items()}


def _text_row(text: str) -> Record:
    return {"text": _decoded(text)}


def _line_row(line: str) -> Record:
    return _text_row(line.rstrip("\r\n"))


_READERS: Mapping[str, Callable[[Path, str, bool], Iterator[Entry]]] = {
    ".jsonl": read_json_lines,
    ".ndjson": read_json_lines,
    ".json": _read_json,
    ".csv": _read_csv,
    ".tsv": _read_csv,
    ".parquet": _read_parquet,
    ".txt": read_text,
    ".md": read_text,
}
FORMATS = frozenset(_READERS)
"""Extensions of the files that are read."""
FORMATS_WITH_COLUMNS = frozenset(name for name, reader in _READERS.items() if reader is not read_text)
"""Those whose rows have columns of their own names."""
_GZIP = b"\x1f\x8b"
"""First bytes of a file that is compressed with gzip."""
ACCEPTED = ", ".join(_READERS)
"""The same for messages; the text formats are also read when compressed with gzip."""
