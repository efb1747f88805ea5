"""Attributes of a module that are parts of its descent."""

from typing import Generic, Protocol, TypeVar, overload

from unlearn_pl.engine import Descent

Part = TypeVar("Part")


class _Owner(Protocol):
    descent: Descent


class DescentPart(Generic[Part]):
    """An attribute that is read from, and written to, ``descent``: there is one place for it.

    Args:
        name: name of the attribute there.
    """

    def __init__(self, name: str) -> None:
        self.name = name

    @overload
    def __get__(self, module: None, owner: type) -> "DescentPart[Part]": ...
    @overload
    def __get__(self, module: _Owner, owner: type) -> Part: ...
    def __get__(self, module: _Owner | None, owner: type) -> "Part | DescentPart[Part]":
        return self if module is None else getattr(module.descent, self.name)

    def __set__(self, module: _Owner, value: Part) -> None:
        setattr(module.descent, self.name, value)
