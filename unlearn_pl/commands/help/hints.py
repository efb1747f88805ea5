"""Messages of the parser in one line, with what was probably meant."""

import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from difflib import get_close_matches
from importlib import import_module
from inspect import Parameter, isabstract, signature
from typing import get_args

import lightning.pytorch as pl
from lightning.pytorch.callbacks import ModelCheckpoint

from unlearn_pl.commands.help.condensed import condensed
from unlearn_pl.data import UnlearningDataModule
from unlearn_pl.masking import masked
from unlearn_pl.modules import UnlearningModule

_KEY = re.compile(r'Parser key "([^"]+)"')
_ARGUMENT = re.compile(r"Option '([^']+)' is not accepted")
_CLASS = re.compile(r"class_path[ =]'([^']+)'")
_NO_CLASS = re.compile(r"Expected a dot import path string: ([^\s,]+)")
_CHOICE = re.compile(r"Expected a typing\.Literal\[(.+?)\]\. Got value: (\S+)")
_OPTION = re.compile(r"unrecognized arguments: (--[\w.]+)|does not accept option '([^']+)'")
_TYPE = re.compile(r"\w+(?:\.\w+)*\.[A-Z]\w+")
_EXPECTED = re.compile(r"^Expected a (?:<class '(\w+)'>|typing\.Literal\[(.+)\])$")
_GIVEN = re.compile(r"Given value: (.+)")
_NESTED = re.compile(r"NestedArg\(key='([^']+)'")
_TYPES = {
    "int": "an integer",
    "float": "a number",
    "bool": "true or false",
    "str": "a text",
    "dict": "a mapping",
    "list": "a list",
    "NoneType": "null",
}
"""Type to what is written for it."""


def explained(message: str, arguments: Iterable[str] = ()) -> str:
    """A message of jsonargparse on one line, with a suggestion for a misspelled class, argument or choice.

    Args:
        message: as the parser has put it, which may be a tree of what it tried.
        arguments: those of the command, with dots.
    """
    key = ".".join(_KEY.findall(message))
    if found := _ARGUMENT.search(message):
        return _argument(key, found[1], _class_of(message))
    if found := _CHOICE.search(message):
        accepted = [choice.strip().strip("'\"") for choice in found[1].split(",")]
        listed = ", ".join(map(repr, accepted))
        return f"{_given(key, found[2])}; accepted: {listed}.{did_you_mean(found[2], accepted)}"
    if found := _NO_CLASS.search(message):
        name = found[1].strip("'\"")
        if plain := _plain(message[: found.start()]):
            return f"{_given(key, name)}; accepted: {', '.join(plain)}, or a class, but none has this name."
        return f"--{key}: there is no class {name!r}.{did_you_mean(name, _classes(message, found.start()))}"
    if found := _OPTION.search(message):
        option = (found[1] or found[2]).removeprefix("--")
        if key:
            return _argument(key, option, _class_of(message))
        return f"there is no argument --{option}.{did_you_mean(option, [*arguments, *_options()], '--')}"
    if "Expected an instantiatable class, but" in message and (nested := _NESTED.findall(message)):
        return f"--{key}.{nested[-1]}: --{key} names no class that would take it. Name one before it: --{key} CLASS."
    if (choices := _choices(key, message)) is not None:
        return choices
    return f"--{key}: {condensed(message)}" if key else condensed(message)


def did_you_mean(given: str, known: Iterable[str] | Mapping[str, str], prefix: str = "") -> str:
    """`` Did you mean X?`` with the most similar names; empty if there are none.

    Args:
        given: what was written.
        known: the names that there are, or each to what to write instead.
        prefix: written before every suggestion.
    """
    written = dict(known) if isinstance(known, Mapping) else {name: name for name in known}
    lower = {name.lower(): shown for name, shown in written.items()}
    similar = [lower[name] for name in get_close_matches(given.lower(), lower, n=3, cutoff=0.7)]
    if not similar:  # a part of the name may be right: --lr for --model.optimizer.lr
        last = given.rpartition(".")[2]
        similar = [shown for name, shown in written.items() if name.rpartition(".")[2] == last][:3]
    names = " or ".join(prefix + name for name in dict.fromkeys(similar))
    return f" Did you mean {names}?" if names else ""


def arguments_of_class(path: str) -> list[str]:
    """Names of the arguments of the class at an import path, those of its options included; none if it has no path."""
    module, _, name = path.rpartition(".")
    try:
        cls = getattr(import_module(module), name)
    except (ImportError, AttributeError, ValueError):
        return []
    found: list[str] = []
    for base in cls.__mro__ if isinstance(cls, type) else ():
        if "__init__" not in vars(base) or base is object:
            continue
        parameters = signature(vars(base)["__init__"]).parameters
        options = [p.annotation for p in parameters.values() if p.kind is p.VAR_KEYWORD]
        found += [p.name for p in parameters.values() if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
        found += [name for option in options for kind in get_args(option) for name in kind.__annotations__]
        if not any(option is Parameter.empty or not get_args(option) for option in options):
            break  # nothing is passed on to a base that was not named
    return [name for name in dict.fromkeys(found) if name != "self"]


def _argument(key: str, option: str, path: str) -> str:
    name = path.rpartition(".")[2]
    hint = did_you_mean(option, arguments_of_class(path))
    return f"--{key}.{option}: {name or 'the class'} has no argument {option!r}.{hint}"


def _class_of(message: str) -> str:
    """The innermost class that a message names."""
    paths = _CLASS.findall(message)
    return paths[-1] if paths else ""


def _classes(message: str, end: int) -> dict[str, str]:
    """Names of the classes that are accepted where a message fails: subclasses of the types that it lists last.

    Where it lists none, the names that the imported packages of this library export.
    """
    start = message.rfind("Subtypes: [", 0, end)
    known = {}
    for path in _TYPE.findall(message[start:end].partition("\n")[0]) if start >= 0 else ():
        module, _, name = path.rpartition(".")
        try:
            base = getattr(import_module(module), name)
        except (ImportError, AttributeError):
            continue
        for cls in _subclasses(base):
            if cls.__module__.startswith("torch.optim"):
                known[cls.__name__] = f"torch.optim.{cls.__name__}"
            elif cls.__module__.partition(".")[0] in ("unlearn_pl", "lightning"):
                known[cls.__name__] = cls.__name__
            else:  # of the same name as one of PyTorch's, perhaps
                known.setdefault(cls.__name__, f"{cls.__module__}.{cls.__name__}")
    return known or {name: name for name in _exported()}


def _exported() -> list[str]:
    """Public names of the packages of this library that were imported, classes only."""
    packages = [module for name, module in list(sys.modules.items()) if re.fullmatch(r"unlearn_pl\.\w+", name)]
    names = [(module, name) for module in packages for name in getattr(module, "__all__", ())]
    return [name for module, name in names if isinstance(getattr(module, name), type)]


def _subclasses(base: type) -> Iterator[type]:
    for cls in [base, *type.__subclasses__(base)] if isinstance(base, type) else []:
        if not isabstract(cls) and not cls.__name__.startswith("_"):
            yield cls
        if cls is not base:
            yield from _subclasses(cls)


def _options() -> list[str]:
    """Arguments of ``fit`` by their usual names, those inside of methods and data modules included."""
    parts = {"trainer": pl.Trainer, "checkpoint": ModelCheckpoint}
    found = [f"{part}.{name}" for part, cls in parts.items() for name in signature(cls).parameters]
    for part, base in (("model", UnlearningModule), ("data", UnlearningDataModule)):
        found += [f"{part}.{name}" for name in signature(base).parameters]
    return [*found, "model.optimizer.lr", "model.model", "seed_everything", "ckpt_path", "config", "print_config"]


def _choices(key: str, message: str) -> str | None:
    """What is accepted instead of a plain value, if ``message`` says no more than that."""
    if (found := re.search(r"Expected a <class '(\w+)'>\. Got value: (\S+)$", message, re.MULTILINE)) is not None:
        return f"{_given(key, found[2])}; accepted: {_TYPES.get(found[1], found[1])}."
    if (given := _GIVEN.search(message)) is None or given[1].startswith(("NestedArg", "Namespace")):
        return None
    tried = message[: given.start()]
    accepted = _plain(tried)
    if not accepted or not all(_EXPECTED.match(line) for line in _innermost(tried)):
        return None
    nested = [f"{key.partition('.')[0]}.{inner}" for inner in _NESTED.findall(message)]
    place = max([key, *nested], key=lambda path: path.count("."))  # keys of a mapping are in the second alone
    value = given[1].strip("'")
    literals = [choice.strip("'") for choice in accepted]
    return f"{_given(place, value)}; accepted: {', '.join(accepted)}.{did_you_mean(value, literals)}"


def _given(place: str, value: str) -> str:
    """``--place is 'value'``, without a secret."""
    return f"--{place} is {masked(value, place)!r}"


def _innermost(tried: str) -> list[str]:
    """The attempts of the last union in ``tried``, one a line."""
    lines = tried[tried.rfind("Errors:") :].splitlines()[1:] if "Errors:" in tried else []
    return [line.strip().removeprefix("- ") for line in lines if line.strip().startswith("- ")]


def _plain(tried: str) -> list[str]:
    """The types and choices among the attempts of the last union, as a user writes them."""
    accepted: list[str] = []
    for line in _innermost(tried):
        if (found := _EXPECTED.match(line)) is not None:
            accepted += [_TYPES.get(found[1], found[1])] if found[1] else found[2].split(", ")
    return list(dict.fromkeys(accepted))
