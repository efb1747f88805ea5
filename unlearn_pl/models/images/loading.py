"""Weights and settings of image models on disk: safetensors and JSON only, nothing that could run code."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import cast

from torch import nn

WEIGHTS, PREPROCESSING = "model.safetensors", "preprocessor_config.json"


def load_pretrained(folder: str) -> nn.Module:
    """The image classifier of transformers in a folder.

    Args:
        folder: with ``config.json`` and weights in safetensors.

    Raises:
        ValueError: if there is no such folder, it holds no model, or the weights are not in safetensors.
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
    try:
        model = AutoModelForImageClassification.from_pretrained(path, use_safetensors=True, local_files_only=True)
    except (OSError, ValueError) as error:
        reason = str(error).strip().partition("\n")[0]
        raise ValueError(f"The folder {folder!r} holds no image classifier of transformers: {reason}") from error
    return cast(nn.Module, model)


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
    """Mean and standard deviation per channel in the folder's ``preprocessor_config.json``; None if it has none."""
    try:
        config = json.loads((Path(folder) / PREPROCESSING).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    if not isinstance(config, dict) or not config.get("do_normalize", True):
        return None
    mean, std = (_numbers(config.get(name)) for name in ("image_mean", "image_std"))
    return None if mean is None or std is None else (mean, std)


def _numbers(values: object) -> list[float] | None:
    is_list = isinstance(values, list) and bool(values) and all(isinstance(value, int | float) for value in values)
    return cast(list[float], values) if is_list else None
