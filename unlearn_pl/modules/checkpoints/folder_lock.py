"""A lock on the folder of a run, so that two runs do not write into each other's files."""

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from lightning.pytorch.utilities import rank_zero_only, rank_zero_warn

try:
    import fcntl
except ImportError:  # Windows has none
    fcntl = None  # type: ignore[assignment]


@contextmanager
def locked_folder(
    folder: str | Path, command: str, argument: str = "--trainer.default_root_dir", run: str | None = None
) -> Iterator[None]:
    """Hold the lock of ``command`` on ``folder``; the ranks of one launch share it, of which rank 0 takes it.

    The lock is the operating system's: it ends with the process, however that ends, so that no lock is ever stale.
    ``<folder>/.<command>.lock`` says which process holds it. On file systems without locks, as some NFS mounts are,
    a warning says so, and the run goes on.

    Args:
        folder: the folder of the run; made if it is missing, and removed if it is still empty at the end.
        command: runs of the same command exclude each other; one may ``test`` a checkpoint while ``fit`` goes on.
        argument: what the folder was given as, for the message.
        run: what runs in it, for the message; ``unlearn-pl <command>`` by default.

    Raises:
        ValueError: if another process holds it; naming the process and its machine.
    """
    if fcntl is None or rank_zero_only.rank != 0:  # type: ignore[attr-defined]
        yield
        return
    path = Path(folder) / f".{command}.lock"
    was_there = path.parent.exists()
    file, is_locked = _opened(path, run or f"unlearn-pl {command}", argument)
    try:
        yield
    finally:
        if is_locked:
            path.unlink(missing_ok=True)
        file.close()
        if not was_there:
            with suppress(OSError):  # it is not empty, or another run has removed it
                path.parent.rmdir()


def _opened(path: Path, run: str, argument: str) -> tuple[IO[str], bool]:
    """The open lock file, and whether it is locked: not on a file system without locks."""
    while True:
        with suppress(FileNotFoundError):
            path.parent.mkdir(parents=True, exist_ok=True)
            file = path.open("a+")
            try:
                if not _lock(file, path, run, argument):
                    return file, False
                if os.path.samestat(os.fstat(file.fileno()), path.stat()):
                    file.truncate(0)
                    file.write(f"process {os.getpid()} on {socket.gethostname()}\n")
                    file.flush()
                    return file, True
            except BaseException:
                file.close()
                raise
            file.close()
        # The file, or its folder, was deleted by a run that ended in between: the lock is on a file without a name.


def _lock(file: IO[str], path: Path, run: str, argument: str) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.seek(0)
        holder = file.read().strip() or "another process"
        raise ValueError(
            f"Another `{run}` runs in {str(path.parent)!r}: {holder}. Two runs would replace each "
            f"other's files. Use another {argument}, or wait until it has ended."
        ) from None
    except OSError as error:
        rank_zero_warn(
            f"{path.parent} is on a file system without locks ({error.strerror}): nothing prevents a second "
            f"`{run}` in it. Do not start one while this one runs."
        )
        return False
    return True
