"""Checkpoint files that carry a digest of their own bytes.

The file is the zip archive that ``torch.save`` writes; the SHA-256 of its bytes stands in the archive's comment, which
``torch.load`` and every reader of zip archives skip. One file stays one file, also when it is copied or renamed.
"""

import hashlib
import pickle
import re
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import torch
from fsspec.core import url_to_fs
from torch.distributed.checkpoint import CheckpointException

_DIGEST = re.compile(rb"unlearn_pl sha256 ([0-9a-f]{64})")
_COMMENT_LENGTH = len(b"unlearn_pl sha256 ") + 64
_START = b"PK\x03\x04"
_END = b"PK\x05\x06"
"""First bytes of the record of 22 bytes, comment apart, that ends an archive."""
_BLOCK = 1 << 20


class _Hashing:
    """A file to ``torch.save``: hashes what is written, and leaves out the last two bytes, the comment's length."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._digest = hashlib.sha256()
        self._held = b""

    def _put(self, data: bytes | memoryview) -> None:
        self._digest.update(data)
        self._file.write(data)

    def write(self, data: bytes | memoryview) -> int:
        view = memoryview(data).cast("B")
        if len(view) < 2:
            view = memoryview(self._held + bytes(view))
        else:
            self._put(self._held)
        self._put(view[:-2])
        self._held = bytes(view[-2:])
        return len(data)

    def flush(self) -> None:
        self._file.flush()

    def end(self) -> None:
        """Write the comment's length and the comment."""
        self._put(_COMMENT_LENGTH.to_bytes(2, "little"))
        self._file.write(b"unlearn_pl sha256 " + self._digest.hexdigest().encode())


def save_with_digest(checkpoint: object, file: IO[bytes]) -> None:
    """Write ``checkpoint`` so that ``torch.load`` reads it and :func:`check_file` finds every change.

    Args:
        checkpoint: whatever ``torch.save`` accepts.
        file: an empty binary file, or a buffer.
    """
    hashing = _Hashing(file)
    torch.save(checkpoint, hashing)  # type: ignore[arg-type]  # it needs no more of a file than this
    hashing.end()


def damage(file: IO[bytes]) -> str | None:
    """What is wrong with a checkpoint file, for a message; None if it is whole.

    Files without a digest, which earlier versions and ``torch.save`` write, are compared with the CRC-32 of their
    entries, which ``torch.load`` does not do.

    Args:
        file: a binary file that can be read at any position.
    """
    size = file.seek(0, 2)
    file.seek(0)
    start = file.read(len(_START))
    if not start:
        return "it is empty"
    tail_length = min(size, 22 + _COMMENT_LENGTH)
    file.seek(size - tail_length)
    tail = file.read(tail_length)
    if found := _DIGEST.fullmatch(tail[-_COMMENT_LENGTH:]):
        agrees = _sha256(file, size - _COMMENT_LENGTH) == found[1].decode()
        return None if agrees else "its content does not agree with the SHA-256 that it was written with"
    if start != _START:
        return "it is no file of torch.save, or its beginning is damaged"
    if not (tail[-22:].startswith(_END) and tail[-2:] == b"\0\0"):
        return "its end is missing or damaged"
    return _damaged_entry(file)


def _sha256(file: IO[bytes], length: int) -> str:
    digest = hashlib.sha256()
    file.seek(0)
    while length > 0:
        block = file.read(min(_BLOCK, length))
        if not block:
            break
        digest.update(block)
        length -= len(block)
    return digest.hexdigest()


def _damaged_entry(file: IO[bytes]) -> str | None:
    try:
        file.seek(0)
        with zipfile.ZipFile(file) as archive:
            # PyTorch reads an entry that is marked as a folder as an empty one.
            folder = next((entry.filename for entry in archive.infolist() if entry.external_attr & 0x10), None)
            entry = folder or archive.testzip()
    except Exception as error:  # zipfile raises a dozen types for damaged archives
        return f"its archive cannot be read ({type(error).__name__}: {error})"
    return None if entry is None else f"the content of its entry {entry!r} does not agree with its CRC-32"


def check_file(path: str | Path) -> None:
    """Check that a checkpoint file is whole and unchanged.

    Args:
        path: a file, also on a remote file system.

    Raises:
        ValueError: naming the file, what is wrong with it and what to do.
        FileNotFoundError: if there is none.
    """
    fs, name = url_to_fs(str(path))
    if fs.isdir(name):
        raise ValueError(
            f"The checkpoint {str(path)!r} is a folder of shards, not a file. Give it to the Trainer as ckpt_path, "
            "with strategy='fsdp2'."
        )
    if not fs.exists(name):
        raise FileNotFoundError(f"There is no checkpoint {str(path)!r}.")
    with fs.open(name, "rb") as file:
        found = damage(file)
    if found is not None:
        raise ValueError(damaged(path, found))


def damaged(path: str | Path, found: str) -> str:
    """The message on a checkpoint that is not whole.

    Args:
        path: the file or folder.
        found: what is wrong with it.
    """
    return (
        f"The checkpoint {str(path)!r} cannot be used: {found}. It was changed, torn or written by something else. "
        "Delete it and use another: ckpt_path='last' finds the newest whole one of the run."
    )


def read_checkpoint(path: str | Path, map_location: Any = "cpu", mmap: bool = False) -> Mapping[str, Any]:
    """Check and read a checkpoint file that this library or Lightning has written.

    Args:
        path: a local file.
        map_location: see ``torch.load``.
        mmap: leave tensors in the file until they are used.

    Raises:
        ValueError: if the file is torn or changed, holds other than tensors and plain data, or is no checkpoint.
        FileNotFoundError: if there is none.
    """
    check_file(path)
    try:
        checkpoint = torch.load(path, map_location=map_location, weights_only=True, mmap=mmap or None)
    except pickle.UnpicklingError as error:
        raise ValueError(not_plain(path, error)) from error
    except RuntimeError as error:
        raise ValueError(f"{str(path)!r} is no file of torch.save, and so no checkpoint: {error}") from error
    if not isinstance(checkpoint, Mapping) or "state_dict" not in checkpoint:
        raise ValueError(
            f"{str(path)!r} is a file of PyTorch, but no checkpoint of a Trainer: it has no weights under 'state_dict'."
        )
    return checkpoint


@contextmanager
def readable(path: str) -> Iterator[None]:
    """Within the context, what PyTorch cannot read of a checkpoint is an error that names it.

    Args:
        path: a file, or a folder of shards.

    Raises:
        ValueError: if it is damaged, or holds other than tensors and plain data.
    """
    try:
        yield
    except pickle.UnpicklingError as error:
        raise ValueError(not_plain(path, error)) from error
    except RuntimeError as error:
        if "PytorchStreamReader" not in str(error):
            raise
        raise ValueError(damaged(path, "PyTorch cannot read its archive")) from error
    except CheckpointException as error:  # of shards; no subclass of Exception
        first = next(iter(error.failures.values()))[0]
        reason = str(first).strip().partition("\n")[0]
        raise ValueError(damaged(path, f"PyTorch cannot read its shards ({type(first).__name__}: {reason})")) from error


def not_plain(path: object, error: BaseException) -> str:
    """The message on a file that ``weights_only`` does not load.

    Args:
        path: the file.
        error: of ``torch.load``.
    """
    reason = str(error).split("Please file an issue")[0]
    what = next((line.strip() for line in reason.splitlines() if "GLOBAL" in line), "")
    return (
        f"The checkpoint {str(path)!r} holds more than tensors and plain data, and loading it could run code. {what} "
        "Checkpoints of this library hold nothing of the kind: use one of those."
    )
