"""Folders that can be written to: checked before hours of work, and not after."""

import tempfile
from pathlib import Path


def check_writable(folder: str | Path, argument: str) -> None:
    """Check that files can be written to a folder, by writing one.

    The permissions alone do not say it: not on a file system that is read-only or full, and not for root. A folder that
    does not exist is not made: the check is then made in the nearest one above it.

    Args:
        folder: where results will go.
        argument: what it was given as, for the message.

    Raises:
        ValueError: naming the folder and the reason.
    """
    place = Path(folder).absolute()
    while not place.exists() and place != place.parent:
        place = place.parent
    try:
        with tempfile.TemporaryFile(dir=place, prefix=".writable.") as file:
            file.write(b"0")
            file.flush()
    except OSError as error:
        raise ValueError(
            f"{argument}: {str(folder)!r} cannot be written to ({error.strerror or error}). Accepted: a folder on a "
            "file system with free space that this user may write to."
        ) from error
