"""Secrets in configurations and records, which are masked before they are written."""

import argparse
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

MASKED = "<masked by unlearn_pl>"
"""What stands in the place of a secret, or before a description of rows."""

_NAMES = re.compile(
    r"(?:.*_)?(?:api_?keys?|(?:secret|access|private|account)_keys?|secrets?|passwords?|passwd|passphrases?|"
    r"credentials?|authorization|cookies?|(?:api|access|auth|refresh|bearer|hf|hub|bot|session)_tokens?)"
    r"|token|use_auth_token"
)
_USER = re.compile(r"(?<=://)(?P<user>[^/\s:@]*):[^/\s]*@")
_KEY_AS_USER = re.compile(r"(?<=://)[^/\s:@]{20,}@")
_PRINTED = re.compile(
    r"(?P<before>\b(?P<name>[\w-]+)['\"]?\s*[=:]\s*)(?P<quote>['\"])(?:\\.|(?!(?P=quote)).)*(?P=quote)"
)
_PARAMETER = re.compile(r"(?<=[?&])(?P<name>[\w-]+)=[^&#\s]+")


def is_secret(name: str) -> bool:
    """Whether an argument of this name holds a secret.

    Args:
        name: name of an argument, or a path of names with dots, of which the last one counts. ``api_key``, ``token``,
            ``hf_token``, ``password`` and the like are secrets; ``pad_token``, ``tokenizer`` and ``max_new_tokens`` are
            not.
    """
    return _NAMES.fullmatch(name.rpartition(".")[2].replace("-", "_").lower()) is not None


def masked(value: object, name: str = "") -> object:
    """``value`` without secrets: texts of arguments that hold one, and passwords and keys in addresses.

    Args:
        value: plain data.
        name: the argument that it is the value of. The path of a file that exists is no secret.

    Returns:
        Plain data with :data:`MASKED` in the place of secrets; equal to ``value`` if it has none.
    """
    if isinstance(value, Mapping):
        return {key: masked(item, str(key)) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [masked(item, name) for item in value]
    if not isinstance(value, str) or not value:
        return value
    return MASKED if is_secret(name) and not _is_file(value) else without_passwords(value)


def without_passwords(text: str) -> str:
    """``text`` with masks for passwords and keys in addresses, such as ``https://user:password@host``."""
    if "://" not in text:
        return text
    text = _USER.sub(lambda found: f"{found['user']}:{MASKED}@", text)
    text = _KEY_AS_USER.sub(f"{MASKED}@", text)
    return _PARAMETER.sub(lambda found: f"{found['name']}={MASKED}" if _is_key(found["name"]) else found[0], text)


def masked_message(text: str) -> str:
    """A message without secrets: ``without_passwords``, and masks for ``api_key='...'`` as Python and YAML print it."""
    text = _PRINTED.sub(lambda found: f"{found['before']}{MASKED!r}" if is_secret(found["name"]) else found[0], text)
    return without_passwords(text)


def masked_places(value: object, place: str = "") -> Iterator[str]:
    """Names of what is masked in a configuration or a record.

    Args:
        value: plain data, or a namespace.
        place: its name.
    """
    if isinstance(value, str):
        if MASKED in value:
            yield place
    elif isinstance(value, Mapping | argparse.Namespace):
        items = value.items() if isinstance(value, Mapping) else vars(value).items()
        for key, item in items:
            yield from masked_places(item, f"{place}.{key}".removeprefix("."))
    elif isinstance(value, list | tuple):
        for i, item in enumerate(value):
            yield from masked_places(item, f"{place}.{i}")


def check_unmasked(config: object) -> None:
    """Check that a configuration is whole: what was masked when it was written must be given again.

    Args:
        config: plain data, or a namespace.

    Raises:
        ValueError: naming what is masked.
    """
    if places := sorted(set(masked_places(config))):
        raise ValueError(
            f"{', '.join(places)}: masked when this configuration was written, because secrets and rows are not kept. "
            "Give the value again, on the command line or in a file after this one (-c this.yaml -c own.yaml). Of a "
            "secret, rather leave the argument out, and set the environment variable that its class reads, such as "
            "WANDB_API_KEY, COMET_API_KEY, NEPTUNE_API_TOKEN or HF_TOKEN."
        )


def _is_key(name: str) -> bool:
    return is_secret(name) or name.lower() in ("key", "sig", "signature")


def _is_file(text: str) -> bool:
    try:
        return Path(text).exists()
    except (OSError, ValueError):
        return False
