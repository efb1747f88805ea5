"""Configurations without the rows that they spell out: rows to forget stand in no file but those of the user."""

from collections.abc import Mapping
from typing import Any

import yaml

from unlearn_pl.masking import MASKED
from unlearn_pl.recording import UNRECORDABLE, Recorded, record


def without_rows(text: str, data: object) -> str:
    """A configuration with a description in the place of rows in memory.

    Args:
        text: the configuration as YAML.
        data: the data module that was built from its section ``data``; its record describes rows by count and SHA-256.

    Returns:
        ``text`` itself if it spells out no rows.
    """
    config = yaml.safe_load(text)
    if not isinstance(data, Recorded) or not isinstance(config, Mapping) or "data" not in config:
        return text
    described = _described(config["data"], record(data))
    if described == config["data"]:
        return text
    header = [line for line in text.splitlines(keepends=True) if line.startswith("#")]
    return "".join(header) + yaml.safe_dump({**config, "data": described}, sort_keys=False)


def _described(given: Any, recorded: Any) -> Any:
    """``given`` with a description where it is rows that ``recorded`` describes."""
    if isinstance(recorded, Mapping) and UNRECORDABLE in recorded:
        is_component = isinstance(given, Mapping) and "class_path" in given
        return f"{MASKED} {recorded[UNRECORDABLE]}" if isinstance(given, Mapping | list) and not is_component else given
    if isinstance(given, Mapping) and isinstance(recorded, Mapping):
        return {name: _described(item, recorded.get(name)) for name, item in given.items()}
    if isinstance(given, list) and isinstance(recorded, list) and len(given) == len(recorded):
        return [_described(item, other) for item, other in zip(given, recorded, strict=True)]
    return given
