"""Adapters (LoRA) of the network of a text-to-image model: merged for exports, or in a folder of their own."""

import tempfile
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from unlearn_pl.models.finite import check_finite_weights
from unlearn_pl.models.language.adapter_folders import adapter_config
from unlearn_pl.models.merging import base_weights, merge_adapter

if TYPE_CHECKING:
    from peft import PeftModel


def base_of(name: str) -> str | None:
    """The model that the adapter in a folder was trained on; None if the folder holds no adapter alone.

    Args:
        name: of the folder, or of a repository.

    Raises:
        ValueError: if the adapter names no base model, or its own folder.
    """
    folder = Path(name)
    if not (folder / "adapter_config.json").is_file() or (folder / "model_index.json").is_file():
        return None
    base = str((adapter_config(name) or {}).get("base_model_name_or_path") or "")
    if not base or Path(base).resolve() == folder.resolve():
        raise ValueError(
            f"{name!r} holds an adapter whose adapter_config.json names {base!r} as its base model; accepted: the "
            "folder, or the name on the hub, of the text-to-image model that the adapter was trained on."
        )
    return base


def save_adapter(network: "PeftModel", weights: Mapping[str, Tensor], folder: str | Path) -> None:
    """Write the active adapter, so that ``PeftModel.from_pretrained(pipeline.unet, folder)`` reads it.

    Args:
        network: a ``UNet2DConditionModel`` with adapters.
        weights: name to the whole weights of ``network``, on the CPU.
        folder: an empty folder.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Could not find a config file in")
        network.save_pretrained(str(folder), state_dict=dict(weights), selected_adapters=[network.active_adapter])


def merged_network(network: "PeftModel", weights: Mapping[str, Tensor]) -> nn.Module:
    """The network with its active adapter merged, in a copy on the CPU; ``network`` is left alone.

    Args:
        network: a ``UNet2DConditionModel`` with adapters; may be sharded.
        weights: name to its whole weights, on the CPU.

    Raises:
        ValueError: if merged weights are not finite.
    """
    from diffusers import UNet2DConditionModel

    with torch.device("meta"):  # no memory or random numbers for weights that are assigned next
        twin = UNet2DConditionModel.from_config(network.get_base_model().config)
    # Merging works in place, and on a CPU the gathered weights are the model's own.
    copies = {name: weight.clone() for name, weight in base_weights(weights).items()}
    missing = twin.load_state_dict(copies, strict=False, assign=True).missing_keys
    assert not missing, f"weights to merge are missing: {missing}"
    with tempfile.TemporaryDirectory() as folder:
        save_adapter(network, weights, folder)
        merged: nn.Module = merge_adapter(twin, folder)
    check_finite_weights(merged.state_dict())  # halves may overflow in the sum
    return merged
