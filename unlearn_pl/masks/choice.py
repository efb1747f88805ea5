"""Selection of parameters by regular expressions on their names."""

import re
from collections.abc import Iterable, Sequence


def chosen_names(names: Iterable[str], include: Sequence[str], exclude: Sequence[str]) -> set[str]:
    """The names that match an ``include`` and no ``exclude`` expression, anywhere in the name.

    Raises:
        ValueError: if an expression matches none of ``names``.
    """
    names = list(names)
    for expression in [*include, *exclude]:
        if not _matching([expression], names):
            raise ValueError(f"no parameter's name matches {expression!r}; names are {some_of(names)}")
    return _matching(include, names) - _matching(exclude, names)


def some_of(names: Iterable[str], at_most: int = 5) -> str:
    """The first few of ``names`` and their total number, for messages."""
    listed = list(names)
    return ", ".join(listed[:at_most]) + (f", ... ({len(listed)} in all)" if len(listed) > at_most else "")


def _matching(expressions: Iterable[str], names: Iterable[str]) -> set[str]:
    return {name for name in names if any(re.search(expression, name) for expression in expressions)}
