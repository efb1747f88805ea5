"""Detection of models with adapters, without importing peft."""

from typing import TYPE_CHECKING, TypeGuard

from torch import nn

if TYPE_CHECKING:
    from peft import PeftModel


def has_adapter(model: nn.Module) -> "TypeGuard[PeftModel]":
    """Whether ``model`` is a peft model; does not import peft."""
    return hasattr(model, "get_base_model")
