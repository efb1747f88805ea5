"""What the packages export, which is what the reference of the API shows."""

import importlib
import inspect
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from types import ModuleType

PACKAGE = Path(__file__).parents[1] / "unlearn_pl"
MODULES = ("types", "views")
"""Single files with names for users."""


def packages() -> Iterator[tuple[str, ModuleType]]:
    """Name and module of everything with exports, in the order of the names."""
    names = [*MODULES, *(path.parent.name for path in PACKAGE.glob("*/__init__.py"))]
    for name in sorted(names):
        module = importlib.import_module(f"unlearn_pl.{name}")
        if exports(module):
            yield name, module


def exports(module: ModuleType) -> list[str]:
    """The public names of a package; of a single file, the classes and functions that it defines."""
    if hasattr(module, "__all__"):
        return sorted(module.__all__)
    own = [name for name, value in vars(module).items() if getattr(value, "__module__", None) == module.__name__]
    return sorted(name for name in own if not name.startswith("_"))


@cache
def _public() -> frozenset[str]:
    return frozenset(f"unlearn_pl.{package}.{name}" for package, module in packages() for name in exports(module))


def is_public(target: str) -> bool:
    """Whether a path is that of a public name, or of a member of one, both of which have an anchor.

    Example:
        >>> is_public("unlearn_pl.goals.AtMost"), is_public("unlearn_pl.goals.goal")
        (True, False)
    """
    return ".".join(target.split(".")[:3]) in _public()


def targets() -> dict[str, str]:
    """Every exported class to its place in the reference; names that two packages export are left out."""
    found: dict[str, str] = {}
    twice = set()
    for package, module in packages():
        for name in exports(module):
            if inspect.isclass(getattr(module, name)):
                twice |= {name} & found.keys()
                found[name] = f"unlearn_pl.{package}.{name}"
    return {name: target for name, target in found.items() if name not in twice}
