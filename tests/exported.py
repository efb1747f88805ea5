"""The classes that a package exports, made with their defaults, as cases of the suites that hold for all of them."""

import inspect
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any, Literal, get_args, get_origin, get_type_hints

import pytest

Arguments = dict[str, Any]


@dataclass(frozen=True)
class Case:
    """A class, and the arguments that are not left at their defaults."""

    cls: type
    arguments: Arguments = field(default_factory=dict)

    def make(self, **more: Any) -> Any:
        """A new instance; ``more`` are further arguments. The test fails with a sentence where some are missing."""
        arguments = self.arguments | more
        try:
            inspect.signature(self.cls).bind(**arguments)
        except TypeError as error:
            pytest.fail(
                f"{self} cannot be made: {error}. Give every argument of its constructor a default, such as that of "
                "its paper: the suites make each exported class from its defaults."
            )
        return self.cls(**arguments)

    def __str__(self) -> str:
        given = ", ".join(f"{name}={_shown(value)!r}" for name, value in self.arguments.items())
        return f"{self.cls.__name__}({given})"


def _shown(value: Any) -> Any:
    """Files in temporary folders by their names: workers must agree on the names of tests."""
    return Path(value).name if isinstance(value, str) and Path(value).is_absolute() else value


def cases(package: ModuleType, base: type, needed: Mapping[type, Sequence[Arguments]] | None = None) -> Iterator[Case]:
    """Every concrete subclass of ``base`` in ``package.__all__``.

    Args:
        package: where to look.
        base: what to look for.
        needed: for the few classes that no default would suit, the arguments to make them with.

    Yields:
        The class with its defaults (or with each of the ``needed`` arguments), and with every other value of an
        argument that is a flag or one of a few literals.
    """
    for cls in (getattr(package, name) for name in package.__all__):
        if isinstance(cls, type) and issubclass(cls, base) and not inspect.isabstract(cls):
            given = (needed or {}).get(cls, [{}])
            yield from (Case(cls, arguments) for arguments in given)
            yield from (Case(cls, given[0] | {name: value}) for name, value in other_choices(cls))


def other_choices(cls: type) -> Iterator[tuple[str, Any]]:
    """Arguments of the constructor that have few values, with each of these but the default."""
    hints = get_type_hints(cls.__init__)
    for name, parameter in inspect.signature(cls).parameters.items():
        hint = hints.get(name)
        values = (True, False) if hint is bool else get_args(hint) if get_origin(hint) is Literal else ()
        yield from ((name, value) for value in values if value != parameter.default)
