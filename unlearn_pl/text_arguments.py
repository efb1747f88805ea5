"""Arguments that take a text as it is, such as paths of files, which look like import paths without being any."""

import inspect
import types
import typing
from collections.abc import Callable, Iterable, Mapping
from typing import Any

Hints = tuple[object, ...]
"""The types that a value may have, those of a union one by one; empty if they are not known."""

_PLAIN = (type(None), bool, int, float)
"""Types that no parser looks up."""


def argument_types(owner: object, name: str) -> Hints:
    """The types that ``owner`` gives its argument ``name``.

    Args:
        owner: a class, whose base classes are searched as well, or a function.
        name: name of the argument.

    Returns:
        Empty if there is no such argument, or its annotation cannot be evaluated.
    """
    classes = owner.__mro__ if isinstance(owner, type) else (owner,)
    for cls in classes:
        function = vars(cls).get("__init__") if isinstance(owner, type) else cls
        if not inspect.isfunction(function):
            continue
        try:
            hints = _hints(function)
        except (NameError, TypeError, AttributeError):
            return ()
        if name in hints:
            return _alternatives(hints[name])
    return ()


def inside(hints: Hints, container: type) -> Hints:
    """The types of what a value holds.

    Args:
        hints: the types of the value.
        container: ``dict`` for the values of a mapping, ``list`` for the items of a list.
    """
    found: list[object] = []
    for hint in hints:
        origin, inner = typing.get_origin(hint), typing.get_args(hint)
        if not isinstance(origin, type) or not issubclass(origin, Iterable):
            continue
        if issubclass(origin, Mapping):
            items = inner[1:] if issubclass(container, Mapping) else ()
        elif origin is tuple and inner[1:] != (Ellipsis,):
            items = ()  # one type per position
        else:
            items = () if issubclass(container, Mapping) else inner[:1]
        found += [alternative for item in items for alternative in _alternatives(item)]
    return tuple(found)


def takes_text(hints: Hints) -> bool:
    """Whether a text is kept as it is, because texts come before everything that a text could name."""
    for hint in hints:
        if hint is str or typing.get_origin(hint) is typing.Literal:
            return True
        # A text may name a class, and also a function where something callable is taken.
        if hint not in _PLAIN and typing.get_origin(hint) in (None, Callable):
            return False
    return False


def _hints(function: Any) -> dict[str, object]:
    """Annotations by name, those of unpacked options included."""
    hints: dict[str, object] = dict(typing.get_type_hints(function))
    for name, parameter in inspect.signature(function).parameters.items():
        if parameter.kind is inspect.Parameter.VAR_KEYWORD:
            options = hints.pop(name, None)
            if typing.get_origin(options) is typing.Unpack:
                hints |= typing.get_type_hints(typing.get_args(options)[0])
    return hints


def _alternatives(hint: object) -> Hints:
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        return tuple(one for part in typing.get_args(hint) for one in _alternatives(part))
    return (hint,)
