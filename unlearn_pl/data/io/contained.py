"""The check that what a folder of data holds is inside it: links could bring in any file of the machine."""

import json
import re
from pathlib import Path

from unlearn_pl.printable import printable

_REPOSITORY = re.compile(r"(datasets|models|spaces)--.")
"""Names of folders in the hub's cache."""


def check_contained(file: Path, folder: Path) -> Path:
    """Check a file that was found in a folder which may be someone else's.

    Links that stay inside are followed, also those of the hub's cache from ``snapshots/<revision>`` to ``blobs`` beside
    it. The folder itself may be a link, since the user has named it.

    Args:
        file: path inside ``folder``.
        folder: the folder of data.

    Returns:
        ``file``.

    Raises:
        ValueError: if ``file`` is a link that leads out of the folder, or a control character is part of its name.
    """
    if str(file) != printable(str(file)):
        raise ValueError(
            f"A name in the folder {printable(str(folder))!r} has a control character: {printable(str(file))}. Rename "
            "the file."
        )
    target = file.resolve()
    if not any(target.is_relative_to(place) for place in _places(folder.resolve())):
        raise ValueError(
            f"{file} leads to {printable(str(target))}, outside of the folder of data. Accepted are files inside it; "
            "to use that one, copy it there or give its path."
        )
    return file


def check_saved(folder: Path) -> None:
    """Check a folder that ``datasets`` has saved, and the names of files in its ``state.json``.

    Args:
        folder: the folder.

    Raises:
        ValueError: if a link or a name leads out of it.
    """
    for file in folder.rglob("*"):
        check_contained(file, folder)
    for file in saved_files(folder):
        check_contained(file, folder)


def saved_files(folder: Path) -> list[Path]:
    """The files of Arrow that a ``state.json`` names; none if ``datasets`` is going to find fault with it.

    Args:
        folder: a folder that ``datasets`` has saved.
    """
    state = folder / "state.json"
    try:
        content = json.loads(state.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return []
    files = content.get("_data_files") if isinstance(content, dict) else None
    named = [file.get("filename") for file in files or () if isinstance(file, dict)] if isinstance(files, list) else []
    return [folder / name for name in named if isinstance(name, str)]


def _places(folder: Path) -> list[Path]:
    """``folder`` and, if it is a snapshot in the hub's cache, where the cache keeps the contents of files."""
    for snapshots in (folder, *folder.parents):
        if snapshots.name == "snapshots" and _REPOSITORY.match(snapshots.parent.name):
            return [folder, snapshots.parent / "blobs"]
    return [folder]
