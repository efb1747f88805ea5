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

MODELS = ("model", "tokenizer")
"""Arguments that name a folder, or a model on the hub."""

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


def _checks(value: Any, has_hub: bool, place: str = "") -> Iterator[Check]:
    """Of ``value`` and all that it holds."""
    if isinstance(value, Mapping):
        yield from _package(value, place)
        for name, inner in value.items():
            where = f"{place}.{name}".removeprefix(".").replace(".init_args", "")
            if isinstance(inner, str) and name in (*FILES, *MODELS):
                yield _file(where, name, inner, has_hub)
            else:
                yield from _checks(inner, has_hub, where)
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            yield from _checks(inner, has_hub, f"{place}[{number}]")


def _file(where: str, name: str, given: str, has_hub: bool) -> Check:
    if given in ("last", "best", "hpc"):
        return Check(where, f"{given}: known when it runs")
    if Path(given).exists():
        return Check(where, f"{given} is there")
    if name in MODELS and given in ALIASES:
        return Check(where, f"{given}: a name that this library knows")
    if name in MODELS and given.count("/") == 1 and not given.startswith((".", "/", "runs/")):
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
