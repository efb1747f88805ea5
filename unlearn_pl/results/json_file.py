"""JSON files: written whole or not at all, read plain or gzipped, with NaN and infinity as strings."""

import gzip
import json
import math
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from unlearn_pl.results.atomic_file import atomic_file
from unlearn_pl.results.seal import sealed as with_seal
from unlearn_pl.results.seal import unsealed


def read_json(path: str | Path, sealed: bool = False) -> dict[str, Any]:
    """The object in a ``.json`` or ``.json.gz`` file; its seal, if there is one, is compared and left out.

    Args:
        path: the file.
        sealed: whether there must be a seal.

    Raises:
        ValueError: if the file does not exist, is not JSON, holds anything but an object, was changed since it was
            sealed, or has no seal and needs one.
    """
    path = Path(path)
    if not path.is_file():
        raise ValueError(f"There is no file {str(path)!r}.")
    try:
        data = path.read_bytes()
        content = parse_json(gzip.decompress(data) if path.suffix == ".gz" else data)
    except (ValueError, gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise ValueError(f"{str(path)!r} is not a JSON file: {error}") from error
    if not isinstance(content, dict):
        raise ValueError(f"{str(path)!r} must hold a JSON object; it holds a {type(content).__name__}.")
    try:
        return unsealed(content, repr(str(path)), required=sealed)
    except RecursionError as error:
        raise ValueError(f"{str(path)!r} is not a JSON file: {_TOO_DEEP}") from error


def parse_json(text: str | bytes) -> Any:
    """What ``text`` says in JSON.

    Raises:
        ValueError: if it is not JSON, is not UTF-8, or has a number with thousands of digits or values in thousands of
            others, which Python does not read.
    """
    try:
        return json.loads(text)
    except RecursionError as error:
        raise ValueError(_TOO_DEEP) from error


_TOO_DEEP = "its values are nested too deeply; accepted are a few hundred levels"


def write_json(path: str | Path, content: object) -> None:
    """Write ``content``, so that readers find either the old file or the complete new one.

    Folders are created as needed. Non-finite numbers, which JSON does not have, become ``"NaN"``, ``"Infinity"`` and
    ``"-Infinity"``; ``float(text)`` reads them back.

    Args:
        path: the file to write.
        content: nested mappings (keys are written as strings), sequences and scalars.
    """
    _write(path, json_safe(content))


def write_sealed_json(path: str | Path, content: Mapping[str, object]) -> None:
    """:func:`write_json` with a digest under the key ``seal``, which :func:`read_json` compares.

    Args:
        path: the file to write.
        content: nested mappings (keys are written as strings), sequences and scalars.
    """
    _write(path, with_seal(json_safe_items(content)))


def _write(path: str | Path, content: object) -> None:
    with atomic_file(path) as unfinished:
        unfinished.write_text(json.dumps(content, indent=1, allow_nan=False) + "\n", encoding="utf-8")


def json_safe(content: object) -> object:
    """``content`` with string keys, and with strings for non-finite numbers."""
    if isinstance(content, float) and not math.isfinite(content):
        return "NaN" if math.isnan(content) else "Infinity" if content > 0 else "-Infinity"
    if isinstance(content, Mapping):
        return json_safe_items(content)
    if isinstance(content, list | tuple):
        return [json_safe(value) for value in content]
    return content


def json_safe_items(content: Mapping[str, object]) -> dict[str, object]:
    """The same for a mapping."""
    return {str(key): json_safe(value) for key, value in content.items()}
