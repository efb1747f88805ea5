"""Files that are written whole or not at all."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def atomic_file(path: str | Path) -> Iterator[Path]:
    """A temporary path that replaces ``path`` at the end, so that readers find the old file or the new one.

    Args:
        path: the file to write; folders are created as needed.

    Yields:
        A path in the same folder; if the body fails, that file is deleted, and ``path`` is unchanged. What was written
        reaches the disk before the name does, so that a failure of the machine leaves no empty file either.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        yield unfinished
        flush_to_disk(unfinished)
        os.replace(unfinished, path)
        flush_to_disk(path.parent)
    finally:
        unfinished.unlink(missing_ok=True)


def flush_to_disk(path: str | Path) -> None:
    """Wait until a file is on the disk, or the names in a folder are.

    Args:
        path: a file, or a folder, which not every system can flush.
    """
    is_folder = os.path.isdir(path)
    try:
        descriptor = os.open(path, os.O_RDONLY if is_folder else os.O_RDWR)
    except PermissionError:  # folders on Windows
        if is_folder:
            return
        raise
    try:
        os.fsync(descriptor)
    except OSError:
        if not is_folder:  # some network file systems have no such thing for folders
            raise
    finally:
        os.close(descriptor)
