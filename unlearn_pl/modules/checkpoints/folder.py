"""Checkpoints that are a folder with a file of shards per rank, and the list of digests in it.

``digests.json`` is written last: a folder that holds it is complete.
"""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

from unlearn_pl.modules.lightning_internals import REST_OF_FOLDER
from unlearn_pl.results.atomic_file import flush_to_disk

DIGESTS = "digests.json"
"""File name to size in bytes and SHA-256."""
SHARDS_INDEX = ".metadata"
"""Where PyTorch writes which shard is where."""


def is_folder(path: Path) -> bool:
    """Whether ``path`` is a folder that Lightning would read as a checkpoint."""
    return path.is_dir() and (path / REST_OF_FOLDER).is_file()


def file_names(path: Path) -> list[str]:
    """Names of the files of a checkpoint, the list of digests apart."""
    return sorted(file.name for file in path.iterdir() if file.is_file() and file.name != DIGESTS)


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def digests(path: Path, names: Sequence[str]) -> dict[str, list[int | str]]:
    """Sizes in bytes and digests of files in a folder, once they are on the disk.

    Args:
        path: the folder.
        names: of the files.

    Returns:
        File name to ``[size, digest]``.
    """
    for name in names:
        flush_to_disk(path / name)
    return {name: [(path / name).stat().st_size, _digest(path / name)] for name in names}


def complete(path: Path, found: dict[str, list[int | str]]) -> None:
    """Write the list of digests, after which the folder is a complete checkpoint.

    Args:
        path: the folder.
        found: of :func:`digests`, for all files.
    """
    (path / DIGESTS).write_text(json.dumps(found, separators=(",", ":"), sort_keys=True))
    flush_to_disk(path / DIGESTS)
    flush_to_disk(path)


def folder_damage(path: Path, rank: int = 0, ranks: int = 0) -> str | None:
    """What is wrong with a checkpoint folder, for a message; None if it is whole, or has no list of digests.

    Earlier versions wrote none.

    Args:
        path: the folder.
        rank: number of the process that asks.
        ranks: processes that share the reading; 0 to compare names and sizes only.
    """
    if not (path / SHARDS_INDEX).is_file():
        return f"it has no {SHARDS_INDEX}"
    if not (path / DIGESTS).exists():
        return None
    try:
        listed = _listed(path)
    except (ValueError, TypeError, AttributeError, KeyError):
        return f"its {DIGESTS} is damaged"
    if missing := sorted({SHARDS_INDEX, REST_OF_FOLDER} - listed.keys()):
        return f"its {DIGESTS} is damaged: it lists no {missing[0]}"
    for name, (size, _) in listed.items():
        file = path / name
        if not file.is_file():
            return f"its file {name!r} is missing"
        if file.stat().st_size != size:
            return f"its file {name!r} has {file.stat().st_size} bytes instead of {size}"
    for name in sorted(listed)[rank::ranks] if ranks else []:
        if _digest(path / name) != listed[name][1]:
            return f"the content of its file {name!r} does not agree with the SHA-256 in {DIGESTS}"
    return None


def _listed(path: Path) -> dict[str, tuple[int, str]]:
    entries = json.loads((path / DIGESTS).read_text(encoding="utf-8"))
    listed = {name: (int(size), str(digest)) for name, (size, digest) in entries.items()}
    if any(Path(name).name != name for name in listed):
        raise ValueError("a path that leaves the folder")
    return listed
