"""Folders that appear when they are complete, and take the place of an earlier one."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from lightning.pytorch.utilities import rank_zero_warn

from unlearn_pl.results.atomic_file import flush_to_disk


@contextmanager
def replaced_folder(directory: Path) -> Iterator[Path]:
    """An empty folder that becomes ``directory`` once the body has succeeded.

    No single call can put a folder in the place of another, so that for a moment there is none under this name, but
    both under hidden ones, each complete. A process that is killed then leaves them; see :func:`recover_folder`.

    Args:
        directory: absolute path; what is there is replaced.

    Yields:
        The folder to write to; if the body fails, it is deleted, and ``directory`` is unchanged.
    """
    directory.parent.mkdir(parents=True, exist_ok=True)
    recover_folder(directory)
    new, old = _hidden(directory)
    for left in (new, old):  # of a process that was killed earlier or later than that
        shutil.rmtree(left, ignore_errors=True)
    new.mkdir()
    try:
        yield new
        for path in (*new.rglob("*"), new):
            flush_to_disk(path)
        if directory.exists():
            directory.rename(old)
        new.rename(directory)
        flush_to_disk(directory.parent)
    finally:
        recover_folder(directory)  # if the second renaming has failed
        for left in (new, old):
            shutil.rmtree(left, ignore_errors=True)


def recover_folder(directory: Path) -> None:
    """Finish what a killed process has begun: the new folder takes its name, if it was about to.

    Args:
        directory: path of the folder; nothing happens if it exists.
    """
    new, old = _hidden(directory)
    if directory.exists() or not old.is_dir():
        return
    left = new if new.is_dir() else old
    with suppress(FileNotFoundError):  # another rank was faster
        left.rename(directory)
        rank_zero_warn(f"{directory} is put in place: the process that wrote it was killed a moment before.")
        shutil.rmtree(old, ignore_errors=True)


def _hidden(directory: Path) -> tuple[Path, Path]:
    """Where the new folder is written, and where the old one is meanwhile."""
    return directory.with_name(f".{directory.name}.unfinished"), directory.with_name(f".{directory.name}.replaced")
