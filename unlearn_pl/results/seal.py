"""Seals of JSON objects: a digest of the content that is written with it and compared when it is read."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

SEAL = "seal"
"""Key of the digest of all other keys and values."""
_PREFIX = "sha256:"


def sealed(content: Mapping[str, object]) -> dict[str, object]:
    """``content`` and its SHA-256 under the key ``seal``, which comes last.

    The digest is that of the content, not of its text: an editor may indent the file anew or change the order of keys.

    Args:
        content: plain data with texts as keys and finite numbers.
    """
    return {**content, SEAL: _digest(content)}


def unsealed(content: dict[str, Any], place: str, required: bool = False) -> dict[str, Any]:
    """``content`` without its seal, which is compared; objects without a seal stay as they are.

    Args:
        content: what was read.
        place: what to call it at the beginning of messages.
        required: whether there must be a seal, since no version wrote such a file without one.

    Raises:
        ValueError: if the content is not the one that was sealed, or a required seal is missing.
    """
    if not isinstance(found := content.get(SEAL), str) or not found.startswith(_PREFIX):
        if required:
            raise ValueError(f"{place} has lost the {SEAL!r} that it was written with. {_ACCEPTED}.")
        return content
    rest = {key: value for key, value in content.items() if key != SEAL}
    if found != _digest(rest):
        way_out = "" if required else f", or remove the key {SEAL!r} if the change was meant"
        raise ValueError(
            f"{place} was changed after it was written: its content does not match its {SEAL!r}. {_ACCEPTED}{way_out}."
        )
    return rest


_ACCEPTED = "Accepted is the file as it was written; write it again or restore a copy"


def _digest(content: Mapping[str, object]) -> str:
    return _PREFIX + hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
