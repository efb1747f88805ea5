"""Append-only audit trail, in which every line seals the lines before it."""

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from unlearn_pl.results.atomic_file import atomic_file
from unlearn_pl.results.json_file import json_safe_items, parse_json
from unlearn_pl.results.seal import SEAL, sealed, unsealed

PREVIOUS = "previous"
"""Key of the SHA-256 of the line before."""
_START = "0" * 64


def read_trail(path: str | Path) -> list[dict[str, Any]]:
    """The entries of a trail, the oldest first; empty if there is no such file.

    Raises:
        ValueError: naming the first line that was changed: it is not JSON, does not follow the line before, or, for
            the last line, does not match its own seal.
    """
    path = Path(path)
    return _entries(path.read_bytes(), path) if path.exists() else []


def append_to_trail(path: str | Path, entry: Mapping[str, object]) -> None:
    """Append ``entry`` as the last line, completely or not at all; folders are created as needed.

    Each line is a JSON object with the SHA-256 of the line before it and of its own content, so a change, a loss or an
    insertion is found when the trail is read. (The loss of the last lines as a whole cannot be found; if that matters,
    keep the last hash elsewhere.) Several processes may write to one trail.

    Args:
        path: a file with the ending ``.jsonl``.
        entry: plain data; must not have the keys ``previous`` and ``seal``.

    Raises:
        ValueError: if the trail was changed.
    """
    from filelock import FileLock

    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(path.with_name(f".{path.name}.lock")):
        before = path.read_bytes() if path.exists() else b""
        _entries(before, path)
        lines = before.splitlines()
        line = json.dumps(sealed(json_safe_items({**entry, PREVIOUS: _hash(lines[-1:])})), allow_nan=False).encode()
        with atomic_file(path) as unfinished, unfinished.open("wb") as file:
            file.write(b"\n".join([*lines, line, b""]))  # editors may have removed the last line break
            file.flush()
            os.fsync(file.fileno())


def _entries(content: bytes, path: Path) -> list[dict[str, Any]]:
    entries, seal = [], _START
    for number, line in enumerate(content.splitlines()):
        try:
            entry = parse_json(line)
        except ValueError as error:
            raise ValueError(f"Line {number + 1} of {str(path)!r} is not JSON: {error}") from error
        if not isinstance(entry, dict) or entry.get(PREVIOUS) != seal:
            raise ValueError(
                f"Line {number + 1} of {str(path)!r} does not follow the line before it: a line was changed, removed "
                "or inserted. The trail is no longer reliable; start a new one."
            )
        entries.append(entry)
        seal = hashlib.sha256(line).hexdigest()
    if entries:
        _check_last(entries[-1], f"Line {len(entries)} of {str(path)!r}")
    return entries


def _check_last(entry: dict[str, Any], place: str) -> None:
    """The one line that no other line seals; earlier versions wrote it without a seal of its own."""
    if (last := next(reversed(entry))) not in (PREVIOUS, SEAL):
        raise ValueError(f"{place} was changed: its last key is {last!r}; accepted is {SEAL!r}, or {PREVIOUS!r}.")
    if unsealed(entry, place) is entry and last == SEAL:
        raise ValueError(f"{place} was changed: its {SEAL!r} is {entry[SEAL]!r}; accepted is a SHA-256.")


def _hash(line: list[bytes]) -> str:
    """SHA-256 of the only line of ``line``, or what stands for the line before the first."""
    return hashlib.sha256(line[0]).hexdigest() if line else _START
