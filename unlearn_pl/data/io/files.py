"""Reading rows from files."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import cast

from unlearn_pl.data.text.encoder import Row


def read_rows(path: str | Path, columns: Sequence[str] = ("question", "answer")) -> list[Row]:
    """Rows of a JSON Lines file, one JSON object a line.

    Args:
        path: the file.
        columns: columns that every row must have.

    Raises:
        ValueError: if the file is missing, a line is not a JSON object, or a column is missing.
    """
    rows = [_parse(line, number, path) for number, line in enumerate(_lines(path), start=1) if line]
    check_columns(rows, columns, str(path))
    return rows


def read_lines(path: str | Path) -> list[str]:
    """Lines of a text file, without empty ones.

    Raises:
        ValueError: if the file is missing.
    """
    return [line for line in _lines(path) if line]


def _lines(path: str | Path) -> list[str]:
    path = Path(path)
    if not path.is_file():
        raise ValueError(f"The folder {path.parent} has no file {path.name}, which is expected there.")
    # Not splitlines(): JSON strings may hold the other line separators of Unicode as they are.
    return [line.strip() for line in path.read_text(encoding="utf-8-sig").split("\n")]


def check_columns(rows: Sequence[Row], columns: Sequence[str], source: str) -> None:
    """Checks that every row has all ``columns``.

    Raises:
        ValueError: naming the column, ``source`` and the columns that are there.
    """
    for number, row in enumerate(rows, start=1):
        for column in columns:
            if column not in row:
                raise ValueError(f"Row {number} of {source} has no column {column!r}, only {sorted(row)}.")


def _parse(line: str, number: int, path: str | Path) -> Row:
    try:
        row = json.loads(line)
    except json.JSONDecodeError as error:
        raise ValueError(
            f"Line {number} of {path} is not JSON ({error}); expected is one JSON object a line."
        ) from error
    if not isinstance(row, dict):
        raise ValueError(f"Line {number} of {path} is not a JSON object but {line[:60]!r}.")
    return cast(Row, row)
