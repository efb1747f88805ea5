"""The check of what a record names: nothing in it is imported, called or built before it has passed."""

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from importlib.machinery import PathFinder
from importlib.util import find_spec
from types import ModuleType
from typing import Any

import yaml
from jsonargparse import get_loader

from unlearn_pl.text_arguments import Hints, argument_types, inside, takes_text

TRUSTED = ("unlearn_pl", "torch", "transformers")
"""Packages whose modules may be imported to look a class up; those of other packages must be imported already."""


class NotImportedError(ValueError):
    """A path whose module exists and is not imported, so that looking it up would run a file."""


@dataclass(frozen=True)
class Accepted:
    """What a record may name.

    Attributes:
        components: bases of what arguments of components, and arguments without an entry below, may be.
        fitting: argument to the bases of what it may be.
        functions: argument to the functions that may stand for it, under their public paths.
        texts: class to its arguments that hold names, which look like import paths without being any.
    """

    components: tuple[type, ...]
    fitting: Mapping[str, tuple[type, ...]] = field(default_factory=dict)
    functions: Mapping[str, Mapping[str, Callable[..., object]]] = field(default_factory=dict)
    texts: Mapping[type, tuple[str, ...]] = field(default_factory=dict)


def check_paths(
    record: Mapping[str, Any], accepted: Accepted, allow: Sequence[str] = (), owner: type | None = None
) -> None:
    """Check every class, function and import path in a record, before anything is built from it.

    A text counts as an import path: parsers resolve ``combiner: package.Name`` as well as ``combiner: {class_path:
    package.Name}``, and read YAML in a text. Texts of arguments whose annotation begins with ``str`` do not count:
    ``forget: questions.csv`` names a file, though there may be a ``questions.py`` beside it.

    Args:
        record: arguments of a module or a data module as plain data, and ``_class_path``, which Lightning checks.
        accepted: what fits which argument.
        allow: packages whose modules may be imported, and whose classes and functions may be used.
        owner: the class whose arguments they are, for its annotations; None if every text is to be checked.

    Raises:
        ValueError: naming the argument and the path that does not fit it, and what is accepted.
    """
    for name, value in record.items():
        if name not in ("_class_path", "_instantiator"):
            walk = _Walk((*TRUSTED, *allow), tuple(allow), name, accepted)
            walk.visit(value, name, hints=argument_types(owner, name) if owner else ())


def check_local(checkpoint_path: object) -> None:
    """Check that a checkpoint is no web address, which Lightning unpickles without ``weights_only``.

    Args:
        checkpoint_path: path of a checkpoint, or None.

    Raises:
        ValueError: naming the way to load it.
    """
    if str(checkpoint_path).lower().startswith(("http:", "https:")):
        raise ValueError(
            f"The checkpoint {str(checkpoint_path)!r} is at an address, from which code could run. Download it first, "
            "and give the path of the file."
        )


def check_no_hparams_file(arguments: Mapping[str, Any]) -> None:
    """Check that no file is to replace the record of a checkpoint: classes that it names would not be checked.

    Args:
        arguments: those of ``load_from_checkpoint``.

    Raises:
        ValueError: if Lightning's ``hparams_file`` is among them.
    """
    if arguments.get("hparams_file") is not None:
        raise ValueError(
            f"hparams_file={str(arguments['hparams_file'])!r} would replace the record of the checkpoint unchecked. "
            "Accepted: the arguments themselves, as in load_from_checkpoint(path, batch_size=8)."
        )


class _Walk:
    """The check of one argument of a module.

    Args:
        importable: packages whose modules may be imported.
        allowed: packages of which any class or function may be used.
        argument: name of the argument.
        accepted: what fits which argument.
    """

    def __init__(self, importable: Sequence[str], allowed: Sequence[str], argument: str, accepted: Accepted) -> None:
        self.accepted = accepted
        self.importable = importable
        self.allowed = allowed
        self.argument = argument

    def visit(self, value: object, place: str, nested: bool = False, hints: Hints = ()) -> None:
        """Check ``value`` and everything in it.

        Args:
            value: plain data.
            place: its name, for errors.
            nested: whether it is an argument of a component, not of the module.
            hints: the types that it may have.
        """
        if isinstance(value, str):
            self._text(value, place, nested, hints)
        elif isinstance(value, Mapping):
            self._mapping(value, place, nested, hints)
        elif isinstance(value, list | tuple | set):
            for i, item in enumerate(value):
                self.visit(item, f"{place}.{i}", nested, inside(hints, list))

    def _mapping(self, value: Mapping[Any, Any], place: str, nested: bool, hints: Hints) -> None:
        path = value.get("class_path")
        owner = self._class_path(path, place, nested) if "class_path" in value else None
        for key, item in value.items():
            if key == "class_path":
                continue
            if key in ("init_args", "dict_kwargs"):
                self._arguments(item, owner, place)
            else:
                self._item(key, item, place, nested, inside(hints, dict))

    def _arguments(self, arguments: object, owner: object, place: str) -> None:
        """Those of a component; ``owner`` is None where its class is not known."""
        arguments = self._without_texts(arguments, owner)
        if not isinstance(arguments, Mapping):
            self.visit(arguments, place, nested=True)
            return
        if "class_path" in arguments:
            self._class_path(arguments["class_path"], f"{place}.class_path", nested=True)
        for key, item in arguments.items():
            if key in ("init_args", "dict_kwargs"):
                self.visit(item, place, nested=True)
            elif key != "class_path":
                self._item(key, item, place, True, argument_types(owner, str(key)) if owner else ())

    def _item(self, key: object, item: object, place: str, nested: bool, hints: Hints) -> None:
        inner = f"{place}.{key}"
        if {"class_path", "init_args", "dict_kwargs"} & set(str(key).split(".")):
            raise ValueError(f"{inner} hides a class path in a name; accepted: class_path of {place} itself.")
        if key == "trust_remote_code" and item not in (False, None):
            raise ValueError(
                f"{inner} is {item!r}, which lets a model's folder run code. A file cannot ask for that: pass "
                f"{self.argument}=... to load_from_checkpoint again."
            )
        self.visit(item, inner, nested, hints)

    def _class_path(self, path: object, place: str, nested: bool) -> object:
        if not isinstance(path, str):
            raise ValueError(f"{place} has the class_path {path!r}; accepted: the import path of a class.")
        if "." not in path:
            return None  # the name of a class that is a subclass of the argument's type: nothing is imported
        found = self._found(path, place, nested)
        if found is None:
            raise ValueError(f"{place} is {path!r}, where there is nothing. {self._accepted(nested)}")
        self._check(found, path, place, nested)
        return found

    def _text(self, text: str, place: str, nested: bool, hints: Hints) -> None:
        found = None if takes_text(hints) else self._found(text.strip(), place, nested)
        if callable(found):
            self._check(found, text, place, nested)
        try:
            read = get_loader("yaml")(text)
        except (yaml.YAMLError, ValueError):
            return
        if isinstance(read, Mapping | list):
            self.visit(read, place, nested, hints)
        elif isinstance(read, str) and read != text:
            self._text(read, place, nested, hints)

    def _found(self, path: str, place: str, nested: bool) -> object:
        try:
            return find(path, self.importable)
        except NotImportedError as error:
            raise ValueError(
                f"{place} is {path!r}, {error}. {self._accepted(nested)} If you trust that package, pass "
                f"allow=({path.partition('.')[0]!r},)."
            ) from None

    def _check(self, found: object, path: str, place: str, nested: bool) -> None:
        if isinstance(found, type) and issubclass(found, self._bases(nested)):
            return
        if any(found is function for functions in self.accepted.functions.values() for function in functions.values()):
            return
        is_free = nested or self.argument in self.accepted.functions or self.argument not in self.accepted.fitting
        if is_free and _is_in(path, self.allowed):
            return
        raise ValueError(f"{place} is {path!r}, which does not fit. {self._accepted(nested)}")

    def _bases(self, nested: bool) -> tuple[type, ...]:
        components = self.accepted.components
        return components if nested else self.accepted.fitting.get(self.argument, components)

    def _accepted(self, nested: bool) -> str:
        functions = () if nested else self.accepted.functions.get(self.argument, ())
        names = " or ".join([*(f"a subclass of {base.__name__}" for base in self._bases(nested)), *functions])
        packages = ", ".join(dict.fromkeys(self.importable))
        return f"Accepted: {names}, from modules that are imported already or are in {packages}."

    def _without_texts(self, arguments: object, owner: object) -> object:
        if not isinstance(arguments, Mapping):
            return arguments
        known = self.accepted.texts.items()
        texts = next((names for cls, names in known if isinstance(owner, type) and issubclass(owner, cls)), ())
        return {name: value for name, value in arguments.items() if name not in texts}


def find(path: str, importable: Sequence[str] = ()) -> object:
    """What is at the import path ``path``; None if it is no import path or leads nowhere.

    Args:
        path: any text.
        importable: packages whose modules are imported if need be.

    Raises:
        NotImportedError: if a module would have to be imported that is in no package of ``importable``.
    """
    if "." not in path or not all(part.isidentifier() for part in path.split(".")):
        return None
    module, _, name = path.rpartition(".")
    holder: object = _module(module, importable)
    if holder is None and "." in module:
        outer, _, inner = module.rpartition(".")  # of a class in a class
        holder = getattr(_module(outer, importable), inner, None)
    return None if holder is None else getattr(holder, name, None)


def _module(name: str, importable: Sequence[str]) -> ModuleType | None:
    if name in sys.modules:
        return sys.modules[name]
    if _is_in(name, importable):
        try:
            return import_module(name)
        except ImportError:
            return None
    if _would_run(name):
        raise NotImportedError(f"whose module {name!r} is not imported")
    return None


def _would_run(name: str) -> bool:
    """Whether the import of ``name``, which is not imported, would run a file; runs nothing itself."""
    parts, places = name.split("."), None
    for i in range(1, len(parts) + 1):
        prefix = ".".join(parts[:i])
        if prefix in sys.modules:
            places = getattr(sys.modules[prefix], "__path__", ())
            continue
        spec = find_spec(prefix) if i == 1 else PathFinder.find_spec(prefix, list(places or ()))
        if spec is None:
            return False
        if spec.origin is not None or spec.submodule_search_locations is None:
            return True
        places = spec.submodule_search_locations  # a folder without __init__.py, whose import runs nothing
    return False


def _is_in(path: str, packages: Sequence[str]) -> bool:
    return any(path == package or path.startswith(f"{package}.") for package in packages)
