"""Trading time for memory: activations that are computed again in the backward pass."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def checkpoint_activations(model: "PreTrainedModel") -> None:
    """Keep only the inputs of the layers of ``model`` for the backward pass, which runs each layer again."""
    # The reentrant kind allows one backward per forward, and drops the gradients of adapters on frozen layers.
    options = {"use_reentrant": False}
    if hasattr(model, "activation_checkpointing_enable"):  # renamed in the course of transformers 5
        model.activation_checkpointing_enable(activation_checkpointing_kwargs=options)
    else:
        model.gradient_checkpointing_enable(options)
