"""Files, folders and links that take their final name when they are complete and on the disk."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from unlearn_pl.modules.checkpoints.names import REPLACED, UNFINISHED, hidden
from unlearn_pl.results.atomic_file import flush_to_disk


def discard(path: Path) -> None:
    """Delete a file, a link or a folder with all that is in it, if there is one."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A path beside ``path`` to write a file to, which then takes its name and place.

    Args:
        path: of the checkpoint; folders are created as needed.

    Yields:
        The path to write to; if the body fails, it is deleted, and ``path`` is unchanged.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = hidden(path, UNFINISHED)
    discard(unfinished)
    try:
        yield unfinished
        flush_to_disk(unfinished)
        put_in_place(unfinished, path)
    finally:
        discard(unfinished)


def put_in_place(unfinished: Path, path: Path) -> None:
    """Give what is complete its name.

    Where a folder gives way or takes a place, no single call can do it: for a moment there is nothing under this name,
    but both, each complete, under hidden names, where ``ckpt_path="last"`` finds them.

    Args:
        unfinished: a file, a link or a folder that is on the disk.
        path: its name, in the same folder; what is there is replaced.
    """
    folders = any(each.is_dir() and not each.is_symlink() for each in (unfinished, path))
    if folders and os.path.lexists(path):
        replaced = hidden(path, REPLACED)
        discard(replaced)
        path.rename(replaced)
        unfinished.rename(path)
        flush_to_disk(path.parent)
        discard(replaced)
    else:
        os.replace(unfinished, path)
    flush_to_disk(path.parent)


def replace_link(target: str, link: str) -> None:
    """Let ``link`` point to ``target``; the old link, or what else was there, is there until the new one is.

    Where links cannot be made, it becomes a copy.

    Args:
        target: a checkpoint, a file or a folder.
        link: path of the link.
    """
    path = Path(link)
    unfinished = hidden(path, UNFINISHED)
    discard(unfinished)
    try:
        unfinished.symlink_to(os.path.relpath(target, path.parent))
    except (OSError, NotImplementedError):  # without permission on Windows, or on file systems without links
        _copy(Path(target), unfinished)
    put_in_place(unfinished, path)


def _copy(source: Path, new: Path) -> None:
    if source.is_dir():
        shutil.copytree(source, new)
        for file in sorted(new.rglob("*")):
            flush_to_disk(file)
    else:
        shutil.copyfile(source, new)
    flush_to_disk(new)
