"""Activation checkpointing: recomputation in the backward pass trades time for memory."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def checkpoint_activations(model: "PreTrainedModel") -> None:
    """Keep only the inputs of the layers of ``model`` for the backward pass, which recomputes each layer."""
    # The reentrant kind allows one backward per forward, and drops the gradients of adapters on frozen layers.
    options = {"use_reentrant": False}
    if hasattr(model, "activation_checkpointing_enable"):  # renamed during transformers 5
        model.activation_checkpointing_enable(activation_checkpointing_kwargs=options)
    else:
        model.gradient_checkpointing_enable(options)
