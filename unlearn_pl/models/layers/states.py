"""Hidden states in the output of a layer, and the norm that follows the last one."""

from typing import Any

import torch
from torch import Tensor, nn

from unlearn_pl.models.modes import evaluation_mode
from unlearn_pl.models.sharding import decoder_layers


def states_in(output: Any) -> Tensor:
    """The hidden states ``[B, T, D]`` in the output of a layer, which is a tuple in some models."""
    return output[0] if isinstance(output, tuple) else output


def with_states(output: Any, states: Tensor) -> Any:
    """``output`` with other hidden states."""
    return (states, *output[1:]) if isinstance(output, tuple) else states


@torch.no_grad()
def final_norm(model: nn.Module) -> nn.Module:
    """The module outside the layers that is called with the output of the last layer: the norm before the head.

    It is found by what it is called with, whatever the model calls it.

    Raises:
        ValueError: if no module is.
    """
    layers = decoder_layers(model)
    if not layers:
        raise ValueError(f"{type(model).__name__} has no list of layers, and single layers are read or changed here.")
    inside = {id(module) for layer in layers for module in layer.modules()}
    seen: list[Tensor] = []
    found: list[nn.Module] = []

    def keep(module: nn.Module, given: Any, output: Any) -> None:
        seen.append(states_in(output))

    def compare(module: nn.Module, given: tuple[Any, ...]) -> None:
        if seen and given and given[0] is seen[-1]:
            found.append(module)

    hooks = [layers[-1].register_forward_hook(keep)]
    hooks += [m.register_forward_pre_hook(compare) for m in model.modules() if id(m) not in inside]
    try:
        with evaluation_mode(model):
            model(input_ids=torch.zeros(1, 2, dtype=torch.long, device=next(model.parameters()).device))
    finally:
        for hook in hooks:
            hook.remove()
    if not found:
        raise ValueError(
            f"No module of {type(model).__name__} is called with the output of the last layer, so that it is not known "
            "how states become logits."
        )
    return found[0]
