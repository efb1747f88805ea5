"""What a recipe needs of the machine: its folders, the models that it names, and the packages of its classes."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import yaml

from unlearn_pl.commands.trainer import trainer_parser
from unlearn_pl.models.language.names import ALIASES

FILES = ("path", "retain_results", "reinforced", "ckpt_path")
"""Arguments that name a file or a folder."""

ROWS = ("forget", "retain", "normal", "holdout", "alternates", "mmlu", "wikitext", "lens")
"""Arguments that may name a file: those of ``TextDataModule`` do, others where the name has a suffix."""

MODELS = ("model", "tokenizer")
"""Arguments that name a folder, or a model on the hub; so does ``name`` of ``CausalLM``."""

NEEDED = {
    "LoRA": "peft",
    "QLoRA": "bitsandbytes",
    "UNet": "diffusers",
    "TorchJD": "torchjd",
    "LMEvaluation": "lm_eval",
    "FeatureMapping": "sklearn",
}
"""Class to the package of an extra that it imports."""


@dataclass(frozen=True)
class Check:
    """Something that a recipe needs.

    Attributes:
        what: where the recipe says so.
        found: what there is.
        is_missing: whether the recipe cannot run without it.
    """

    what: str
    found: str
    is_missing: bool = False


def checks(arguments: Sequence[str], has_hub: bool = True) -> list[Check]:
    """What ``unlearn-pl fit ARGUMENTS`` needs, in the order of its configuration; nothing is built.

    Args:
        arguments: those of ``fit``.
        has_hub: whether models can be loaded from the hub.

    Raises:
        SystemExit: if the arguments are wrong, as of ``fit`` itself.
    """
    parser = trainer_parser()
    config = yaml.safe_load(parser.dump(parser.parse_args(["fit", *arguments]), skip_validation=True))["fit"]
    found = [*_checks(config, has_hub)]
    return found or [Check("files and packages", "none that are known to be needed")]


def _checks(value: Any, has_hub: bool, place: str = "", owner: str = "") -> Iterator[Check]:
    """Of ``value`` and all that it holds.

    Args:
        value: a part of a configuration.
        has_hub: whether models can be loaded from the hub.
        place: keys that lead to ``value``.
        owner: class whose arguments these are.
    """
    if isinstance(value, Mapping):
        yield from _package(value, place)
        owner = str(value["class_path"]).rpartition(".")[2] if "class_path" in value else owner
        for name, inner in value.items():
            where = f"{place}.{name}".removeprefix(".").replace(".init_args", "")
            if isinstance(inner, str):
                yield from _named(where, owner, inner, has_hub)
            else:
                yield from _checks(inner, has_hub, where, owner)
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            yield from _checks(inner, has_hub, f"{place}[{number}]")


def _named(where: str, owner: str, given: str, has_hub: bool) -> Iterator[Check]:
    """The check of a file, a folder or a model, if the argument at ``where`` names one."""
    *outer, name = where.split(".")
    is_model = name in MODELS or (owner, name) == ("CausalLM", "name")
    may_be_rows = name in ROWS or outer[-1:] == ["eval_sets"]
    is_file = name in FILES or (may_be_rows and (owner == "TextDataModule" or Path(given).suffix != ""))
    if is_model or is_file:
        yield _file(where, is_model, given, has_hub)


def _file(where: str, is_model: bool, given: str, has_hub: bool) -> Check:
    if given in ("last", "best", "hpc"):
        return Check(where, f"{given}: known when it runs")
    if Path(given).exists():
        return Check(where, f"{given} is there")
    if is_model and given in ALIASES:
        return Check(where, f"{given}: a name that this library knows")
    if is_model and given.count("/") == 1 and not given.startswith((".", "/", "runs/")):
        if _is_cached(given):
            return Check(where, f"{given} was loaded before")
        answer = "to be loaded from the hub" if has_hub else "on the hub, which does not answer"
        return Check(where, f"{given}: {answer}", is_missing=not has_hub)
    return Check(where, f"{given}: there is no such file or folder", is_missing=True)


def _is_cached(name: str) -> bool:
    from huggingface_hub import constants

    return (Path(constants.HF_HUB_CACHE) / f"models--{name.replace('/', '--')}").is_dir()


def _package(value: Mapping[str, Any], place: str) -> Iterator[Check]:
    name = str(value.get("class_path", "")).rpartition(".")[2]
    if (package := NEEDED.get(name)) is not None:
        is_there = find_spec(package) is not None
        found = f"{package} is installed" if is_there else f"{name} needs the package {package}"
        yield Check(place or name, found, is_missing=not is_there)
