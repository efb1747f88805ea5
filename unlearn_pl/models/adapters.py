"""Detection of models with adapters, without importing peft."""

from typing import TYPE_CHECKING, TypeGuard

from torch import nn

if TYPE_CHECKING:
    from peft import PeftModel

STARTS_AT_ZERO = ("lora_A", "lora_embedding_B")
"""Randomly initialized factors of adapters, not hashed; the other factor, which is hashed, is 0 until it is trained."""


def has_adapter(model: nn.Module) -> "TypeGuard[PeftModel]":
    """Whether ``model`` is a peft model; does not import peft."""
    return hasattr(model, "get_base_model")


def adapter_of(model: nn.Module) -> "PeftModel | None":
    """The peft model in ``model``: itself, or a part such as the network of a text-to-image model; None without one."""
    return next((module for module in model.modules() if has_adapter(module)), None)
