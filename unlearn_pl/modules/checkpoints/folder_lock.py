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
def locked_folder(folder: str | Path, command: str, argument: str = "--trainer.default_root_dir") -> Iterator[None]:
    """Hold the lock of ``command`` on ``folder``; the ranks of one launch share it, of which rank 0 takes it.

    The lock is the operating system's: it ends with the process, however that ends, so that no lock is ever stale.
    ``<folder>/.<command>.lock`` says which process holds it. On file systems without locks, as some NFS mounts are,
    a warning says so, and the run goes on.

    Args:
        folder: the folder of the run; made if it is missing.
        command: runs of the same command exclude each other; one may ``test`` a checkpoint while ``fit`` goes on.
        argument: what the folder was given as, for the message.

    Raises:
        ValueError: if another process holds it; naming the process and its machine.
    """
    if fcntl is None or rank_zero_only.rank != 0:  # type: ignore[attr-defined]
        yield
        return
    path = Path(folder) / f".{command}.lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    with _opened(path, command, argument) as file:
        try:
            yield
        finally:
            if file is not None:
                path.unlink(missing_ok=True)


@contextmanager
def _opened(path: Path, command: str, argument: str) -> Iterator[IO[str] | None]:
    """The lock file, locked; None where the file system has no locks."""
    while True:
        with path.open("a+") as file:
            if not _lock(file, path, command, argument):
                yield None
                return
            with suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(file.fileno()), path.stat()):
                    file.truncate(0)
                    file.write(f"process {os.getpid()} on {socket.gethostname()}\n")
                    file.flush()
                    yield file
                    return
        # It was deleted by a run that ended in between: the lock is on a file without a name.


def _lock(file: IO[str], path: Path, command: str, argument: str) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.seek(0)
        holder = file.read().strip() or "another process"
        raise ValueError(
            f"Another `unlearn-pl {command}` runs in {str(path.parent)!r}: {holder}. Two runs would replace each "
            f"other's files. Use another {argument}, or wait until it has ended."
        ) from None
    except OSError as error:
        rank_zero_warn(
            f"{path.parent} is on a file system without locks ({error.strerror}): nothing prevents a second "
            f"`unlearn-pl {command}` in it. Do not start one while this one runs."
        )
        return False
    return True
