"""Detection of models with adapters, without importing peft."""

from typing import TYPE_CHECKING, TypeGuard

from torch import nn

if TYPE_CHECKING:
    from peft import PeftModel

STARTS_AT_ZERO = ("lora_A", "lora_embedding_B")
"""Randomly initialized factors of adapters, not hashed; the other factor, which is hashed, is 0 until it is trained."""

STARTED = "lora_start"
"""Buffer of models whose adapters began with factors that were taken off the weights under them."""

CHANGES_WEIGHTS = ("pissa", "corda", "olora", "loftq", "lora_ga")
"""Initializations of peft after which the model without its adapters is not the original one."""


def has_adapter(model: nn.Module) -> "TypeGuard[PeftModel]":
    """Whether ``model`` is a peft model; does not import peft."""
    return hasattr(model, "get_base_model")


def adapter_of(model: nn.Module) -> "PeftModel | None":
    """The peft model in ``model``: itself, or a part such as the network of a text-to-image model; None without one."""
    return next((module for module in model.modules() if has_adapter(module)), None)


def changes_weights(init_lora_weights: object) -> bool:
    """Whether peft changes the weights under adapters with this initialization."""
    return isinstance(init_lora_weights, str) and init_lora_weights.lower().startswith(CHANGES_WEIGHTS)


def began_elsewhere(model: nn.Module) -> str | None:
    """Why the model without its adapters is not the original one; None if it is, as far as can be known."""
    if not has_adapter(model):
        return None
    if hasattr(model, STARTED):
        return "LoRA(initializer=...)"
    for config in model.peft_config.values():
        given = getattr(config, "init_lora_weights", True)
        if changes_weights(given):
            return f"init_lora_weights={given!r}"
    return None
