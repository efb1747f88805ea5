"""Errors of damaged files, in words that name the file."""

import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path

from unlearn_pl.data.io.record import Entry

DAMAGED = (
    OSError,  # gzip's and Arrow's, too
    EOFError,
    zlib.error,
    ValueError,  # Arrow's and UnicodeError, too
    ArithmeticError,
    LookupError,  # an unknown encoding, or a key of Arrow's metadata
    TypeError,
    AttributeError,
    NotImplementedError,
    RecursionError,
    MemoryError,  # a size in a damaged header
    SystemError,  # the same, in Arrow's texts
)
"""What the libraries that read files raise for those that are damaged."""


def readable(entries: Iterable[Entry], path: Path) -> Iterator[Entry]:
    """The rows of a file; what is raised while they are read becomes a ``ValueError`` that names the file.

    Args:
        entries: the rows, read on demand.
        path: their file.

    Raises:
        ValueError: if the file cannot be read any further: it was cut off, changed, or is not of its format.
        FileNotFoundError: if there is no such file.
        PermissionError: if it may not be read.
    """
    reading, number = iter(entries), 0
    while True:
        try:
            entry = next(reading, None)
        except PermissionError:
            raise
        except DAMAGED as error:
            if isinstance(error, FileNotFoundError) and not path.exists():
                raise
            if type(error) is ValueError and str(path) in str(error):
                raise
            after = f" after {number} rows" if number else ""
            raise ValueError(
                f"{path} cannot be read{after}: it was cut off or changed, or is not of the format or encoding that is "
                f"expected ({type(error).__name__}: {error})."
            ) from error
        if entry is None:
            return
        number += 1
        yield entry
