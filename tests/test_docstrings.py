"""Docstrings of public functions and methods name the shapes of the tensors that they take and return."""

import functools
import importlib
import inspect
import re
from collections.abc import Callable, Iterator, Sequence

import pytest

from unlearn_pl.gradients import Row
from unlearn_pl.types import Batch, Window

PACKAGES = [
    "attribution",
    "combiners",
    "data",
    "engine",
    "functional",
    "gradients",
    "masks",
    "metrics",
    "models",
    "modules",
    "objectives",
    "optim",
    "references",
    "report",
    "results",
    "robustness",
]
"""Packages whose docstrings are complete. To come: callbacks."""

# The shapes of these are documented at their names: a row has one gradient per parameter, shaped as it, and a window
# consists of batches. Annotations hold what the names stand for, also inside of ``Sequence[Row]`` and the like.
ALIASES = (Window, Batch, Row)

SHAPE = re.compile(r"\[(?:\]|(?:\.\.\.|[A-Za-z][\w+-]*|ceil\(.*?\))[,\]])")
"""``[]``, ``[B, T-1]``, ``[..., K]``; an interval such as ``[0, 1]`` is no shape."""

SECTION = re.compile(r"^(Args|Returns|Raises|Attributes|Yields|Example|References):$", re.MULTILINE)


def functions(package: str) -> Iterator[tuple[str, Callable[..., object], list[str]]]:
    """Name, function and docstring (with those it overrides) of all public functions and methods of a package."""
    exports = importlib.import_module(f"unlearn_pl.{package}")
    for export in exports.__all__:
        thing = getattr(exports, export)
        if inspect.isfunction(thing):
            yield export, thing, [inspect.getdoc(thing) or ""]
        elif inspect.isclass(thing):
            for name, member in vars(thing).items():
                function = member.fget if isinstance(member, property) else getattr(member, "__func__", member)
                if inspect.isfunction(function) and (not name.startswith("_") or name == "__call__"):
                    versions = [vars(base)[name].__doc__ for base in thing.__mro__ if name in vars(base)]
                    yield f"{export}.{name}", function, [inspect.cleandoc(text or "") for text in versions]


def without_aliases(annotation: object) -> str:
    """The text of ``annotation`` without those of its parts that are one of ``ALIASES``."""
    return functools.reduce(lambda text, alias: text.replace(str(alias), ""), ALIASES, str(annotation))


def without_shape(function: Callable[..., object], docstring: str) -> list[str]:
    """Tensor parameters, and ``return``, of which ``docstring`` gives no shape."""
    tensors = [
        name for name, kind in function.__annotations__.items() if re.search(r"\bTensor\b", without_aliases(kind))
    ]
    sections = re.split(SECTION, docstring)
    texts = dict(zip(sections[1::2], sections[2::2], strict=True))
    entries = dict(re.findall(r"^    (\w+): (.*(?:\n {8}.*)*)", texts.get("Args", ""), re.MULTILINE))
    described = {"return": texts.get("Returns", sections[0]), **entries}
    return [name for name in tensors if not SHAPE.search(described.get(name, sections[0]))]


@pytest.mark.parametrize("package", PACKAGES)
def test_docstrings_name_the_shapes_of_tensors(package):
    offenders = {}
    for name, function, docstrings in functions(package):
        # An overriding method may leave the shapes to the method that it overrides.
        missing = min((without_shape(function, docstring) for docstring in docstrings), key=len)
        if missing:
            offenders[name] = missing
    assert not offenders, f"unlearn_pl.{package}: no shape, such as [B, T], in the docstrings of {offenders}"


def test_a_missing_shape_is_found():
    from torch import Tensor

    def lengths(values: Tensor, mask: Tensor) -> Tensor:
        """Lengths.

        Args:
            values: ``[B, T]``.
            mask: True where counted, with weights in ``[0, 1]``.

        Returns:
            ``[B]``.
        """
        return (values * mask).sum(dim=-1)

    assert without_shape(lengths, inspect.getdoc(lengths)) == ["mask"]
    assert without_shape(lengths, "Lengths ``[B]`` of ``values [B, T]`` under ``mask [B, T]``.") == []
    assert without_shape(lengths, "Lengths.") == ["values", "mask", "return"]


def test_aliases_need_no_shape_but_what_stands_beside_them_does():
    from torch import Tensor

    def combined(rows: Sequence[Row], batch: Batch | None, window: Window, weights: Tensor) -> Sequence[Tensor | None]:
        """Combined."""
        return [weights, *rows[0], *(batch or window["forget"][0]).values()]

    assert without_shape(combined, "Combined.") == ["weights", "return"]
