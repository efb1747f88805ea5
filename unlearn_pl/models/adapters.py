"""Models with adapters, told apart without importing peft."""

from typing import TYPE_CHECKING, TypeGuard

from torch import nn

if TYPE_CHECKING:
    from peft import PeftModel


def has_adapter(model: nn.Module) -> "TypeGuard[PeftModel]":
    """Whether ``model`` is one of peft's, found out without importing peft."""
    return hasattr(model, "get_base_model")
