"""Checks of arguments that all data modules share."""

from collections.abc import Mapping, Sequence
from typing import TypeVar

AnySource = TypeVar("AnySource")
"""The source of a stream or a split."""


def select(available: Mapping[str, AnySource], names: Sequence[str] | None, argument: str) -> dict[str, AnySource]:
    """The sources called ``names`` (all when None), in that order."""
    names = list(available) if names is None else names
    unknown = [name for name in names if name not in available]
    if unknown:
        raise ValueError(f"Unknown {argument} {unknown}; accepted are {list(available)}.")
    return {name: available[name] for name in names}


def check_names(**names: Sequence[str] | None) -> None:
    """Checks arguments that are lists of names, or None.

    Raises:
        ValueError: naming the argument that is a single string.
    """
    for argument, value in names.items():
        if isinstance(value, str):
            raise ValueError(
                f"{argument}={value!r} is a single string; accepted is a list of names, such as [{value!r}]."
            )


def check_positive(least: int = 1, **sizes: int | None) -> None:
    """Checks arguments that are at least ``least``, or None.

    Raises:
        ValueError: naming the argument.
    """
    for name, size in sizes.items():
        if size is not None and size < least:
            raise ValueError(f"{name}={size} must be at least {least}.")
