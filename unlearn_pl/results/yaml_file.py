"""YAML files of runs, which others may have written: plain data, and not much more of it than the file has."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

MOST = 100_000
"""Values in a file, those that an alias stands for included."""
_LOADER: type[yaml.SafeLoader] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""The one in C limits how deeply values are nested; the other takes seconds for what is nested by the thousand."""


def read_yaml(path: str | Path) -> dict[str, Any]:
    """The mapping in a YAML file.

    Args:
        path: the file.

    Raises:
        ValueError: if it is not YAML, holds anything but a mapping, or aliases (``*a``) that unfold to more than
            ``MOST`` values, or to themselves.
    """
    path = Path(path)
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), _LOADER)
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise ValueError(f"{str(path)!r} is not a YAML file: {error}") from error
    if not isinstance(content, dict):
        raise ValueError(f"{str(path)!r} must hold a YAML mapping; it holds a {type(content).__name__}.")
    if unfolded(content) > MOST:
        raise ValueError(f"The aliases in {str(path)!r} unfold to too many values; accepted are {MOST} in a file.")
    return content


def unfolded(value: object, known: dict[int, float] | None = None) -> float:
    """Number of values in nested mappings and lists, each counted as often as it occurs; infinity in a cycle."""
    known = {} if known is None else known
    if not isinstance(value, Mapping | list):
        return 1
    if id(value) not in known:
        known[id(value)] = math.inf
        inner = value.values() if isinstance(value, Mapping) else value
        known[id(value)] = 1 + sum(unfolded(each, known) for each in inner)
    return known[id(value)]
