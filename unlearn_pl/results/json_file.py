"""JSON files: written whole or not at all, read plain or gzipped, with NaN and infinity as strings."""

import gzip
import json
import math
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from unlearn_pl.results.atomic_file import atomic_file


def read_json(path: str | Path) -> dict[str, Any]:
    """The object in a ``.json`` or ``.json.gz`` file.

    Raises:
        ValueError: if the file does not exist, is not JSON, or holds anything but an object.
    """
    path = Path(path)
    if not path.is_file():
        raise ValueError(f"There is no file {str(path)!r}.")
    try:
        data = path.read_bytes()
        content = json.loads(gzip.decompress(data) if path.suffix == ".gz" else data)
    except (json.JSONDecodeError, UnicodeDecodeError, gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise ValueError(f"{str(path)!r} is not a JSON file: {error}") from error
    if not isinstance(content, dict):
        raise ValueError(f"{str(path)!r} must hold a JSON object; it holds a {type(content).__name__}.")
    return content


def write_json(path: str | Path, content: object) -> None:
    """Write ``content``, so that readers find either the old file or the complete new one.

    Folders are created as needed. Non-finite numbers, which JSON does not have, become ``"NaN"``, ``"Infinity"`` and
    ``"-Infinity"``; ``float(text)`` reads them back.

    Args:
        path: the file to write.
        content: nested mappings (keys are written as strings), sequences and scalars.
    """
    with atomic_file(path) as unfinished:
        unfinished.write_text(json.dumps(json_safe(content), indent=1, allow_nan=False) + "\n", encoding="utf-8")


def json_safe(content: object) -> object:
    """``content`` with string keys, and with strings for non-finite numbers."""
    if isinstance(content, float) and not math.isfinite(content):
        return "NaN" if math.isnan(content) else "Infinity" if content > 0 else "-Infinity"
    if isinstance(content, Mapping):
        return {str(key): json_safe(value) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return [json_safe(value) for value in content]
    return content
