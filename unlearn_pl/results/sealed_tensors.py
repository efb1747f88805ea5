"""Safetensors files with a digest of all their bytes, which is compared when they are read."""

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from unlearn_pl.results.atomic_file import atomic_file

DIGEST, SEALED = "sha256", "sealed"
"""Keys of the digest in the metadata of a file, and of the sentence that says what it covers."""
_COVERS = "sha256 of this file with zeros in its place"
_START = f'"{DIGEST}":"'.encode()
_ZEROS = b"0" * 64
_LONGEST_HEADER = 100_000_000
"""Bytes; the limit of safetensors itself."""


def write_sealed(path: str | Path, tensors: Mapping[str, Tensor], facts: Mapping[str, str]) -> None:
    """Write tensors and their digest, so that readers find either the old file or the complete new one.

    Args:
        path: file to write; folders are created as needed.
        tensors: name to tensor.
        facts: metadata of the file; ``sha256`` and ``sealed`` are added.
    """
    with atomic_file(path) as unfinished:
        save_file(dict(tensors), unfinished, {**facts, SEALED: _COVERS, DIGEST: _ZEROS.decode()})
        with unfinished.open("r+b") as file:
            digest, place, _ = _digest(file)
            assert place is not None
            file.seek(place)
            file.write(digest.encode())


def check_sealed(path: str | Path, kind: str) -> None:
    """Compare a file with its digest; files without one, as earlier versions wrote them, pass.

    Args:
        path: the file.
        kind: what it should be, such as ``a mask file``.

    Raises:
        ValueError: if the file was changed after it was written, or is too short to be one of safetensors.
    """
    with Path(path).open("rb") as file:
        try:
            digest, place, found = _digest(file)
        except _NoHeaderError as error:
            raise ValueError(f"{str(path)!r} is not {kind}: {error}") from error
    if place is not None and found != digest:
        raise ValueError(
            f"{str(path)!r} was changed after it was written, or only a part of it is there: its content does not "
            f"match its SHA-256. Accepted is {kind} as it was written: restore a copy, or delete it and make it again."
        )


@contextmanager
def open_sealed(path: str | Path, kind: str) -> Iterator[safe_open]:
    """An open safetensors file; errors in reading it name the file.

    Args:
        path: the file, which exists; :func:`check_sealed` compares it with its digest.
        kind: what it should be, such as ``a mask file``.

    Raises:
        ValueError: if it is not a safetensors file, or lacks a tensor that the body asks for.
    """
    try:
        with safe_open(path, framework="pt") as file:
            yield file
    except (SafetensorError, AttributeError, LookupError, TypeError, RuntimeError) as error:
        raise ValueError(f"{str(path)!r} is not {kind}: {error}") from error


def facts_of(file: safe_open) -> dict[str, str]:
    """The metadata of an open file, without what its digest needs."""
    return {name: value for name, value in (file.metadata() or {}).items() if name not in (DIGEST, SEALED)}


class _NoHeaderError(Exception):
    """The beginning of a file is not that of a safetensors file."""


def _digest(file: BinaryIO) -> tuple[str, int | None, str]:
    """SHA-256 of a file with zeros for its digest; the place of the digest, None in an unsealed file; the digest."""
    size = file.seek(0, 2)
    file.seek(0)
    start = file.read(8)
    length = int.from_bytes(start, "little")
    if not 0 < length <= min(size - 8, _LONGEST_HEADER):
        raise _NoHeaderError(f"it has {size} bytes and no header of safetensors")
    header = file.read(length)
    at = header.find(_START)
    if at < 0 and f'"{SEALED}"'.encode() not in header:
        return "", None, ""
    at = max(at, 0) + len(_START)
    found = header[at : at + len(_ZEROS)]
    whole = hashlib.sha256(start + header[:at] + _ZEROS + header[at + len(_ZEROS) :])
    while part := file.read(1 << 20):
        whole.update(part)
    return whole.hexdigest(), 8 + at, found.decode(errors="replace")
