"""Weights and settings of image models on disk: safetensors and JSON only, nothing that could run code."""

from collections.abc import Sequence
from pathlib import Path
from typing import cast

import torch
from torch import nn

from unlearn_pl.models.hub.damage import load_whole, reading
from unlearn_pl.results.json_file import read_json

WEIGHTS, PREPROCESSING = "model.safetensors", "preprocessor_config.json"


def load_pretrained(folder: str) -> nn.Module:
    """The image classifier of transformers in a folder.

    Args:
        folder: with ``config.json`` and weights in safetensors.

    Raises:
        ValueError: if there is no such folder, it holds no model or not all of its weights, or these are not in
            safetensors.
    """
    from transformers import AutoModelForImageClassification

    path = Path(folder)
    if not (path / "config.json").is_file():
        raise ValueError(
            f"network is {folder!r}, which is no folder with a config.json. Accepted: the folder of an image "
            "classifier of transformers, a class of networks with its arguments, or a function that makes a network."
        )
    if not any(path.glob("*.safetensors")):
        raise ValueError(f"The folder {folder!r} has no weights in safetensors; accepted are no others.")
    options = {"use_safetensors": True, "local_files_only": True, "trust_remote_code": False}
    with reading(folder, "image classifier of transformers"):
        return cast(nn.Module, load_whole(AutoModelForImageClassification, folder, **options))


def load_weights(network: nn.Module, weights: str) -> None:
    """Load weights into ``network``.

    Args:
        network: of the shape that the weights were saved from.
        weights: a ``.safetensors`` file, or a folder with ``model.safetensors``.

    Raises:
        ValueError: if there is no such file, it is no safetensors file, or names or shapes do not fit.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    path = Path(weights)
    file = path / WEIGHTS if path.is_dir() else path
    if not file.is_file() or file.suffix != ".safetensors":
        raise ValueError(f"weights is {weights!r}; accepted: a .safetensors file, or a folder with {WEIGHTS}.")
    try:
        network.load_state_dict(load_file(file))
    except SafetensorError as error:
        raise ValueError(f"{file} is no safetensors file: {error}") from error
    except RuntimeError as error:
        raise ValueError(f"The weights in {file} do not fit {type(network).__name__}: {error}") from error


def normalization_of(folder: str) -> tuple[Sequence[float], Sequence[float]] | None:
    """Mean and standard deviation per channel in the folder's ``preprocessor_config.json``; None if it has none.

    Raises:
        ValueError: if that is no JSON object, or they are no finite numbers, positive ones for the deviation.
    """
    file = Path(folder) / PREPROCESSING
    config = read_json(file) if file.is_file() else {}
    given = [config.get(name) for name in ("image_mean", "image_std")]
    if None in given or not config.get("do_normalize", True):
        return None
    mean, std = (_numbers(values) for values in given)
    if mean is None or std is None or len(mean) != len(std) or min(std) <= 0:
        raise ValueError(
            f"{str(file)!r} has the image_mean {given[0]} and the image_std {given[1]}; accepted are two lists of "
            "finite numbers, one per channel, and deviations above 0."
        )
    return mean, std


def _numbers(values: object) -> list[float] | None:
    if not isinstance(values, list) or not values:
        return None
    largest = torch.finfo(torch.float32).max
    return values if all(isinstance(value, int | float) and abs(value) <= largest for value in values) else None
