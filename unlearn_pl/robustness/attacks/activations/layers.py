"""The layers of a model under attack: how many there are, and what stands after the last one."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from unlearn_pl.models import decoder_layers, resolve
from unlearn_pl.models.modes import evaluation_mode
from unlearn_pl.robustness.target import Subject


def depth_of(subject: Subject) -> int:
    """Number of layers of the model, read from its configuration, without its weights."""
    from transformers import AutoConfig

    path, gguf_file = resolve(subject.model)
    options = {} if gguf_file is None else {"gguf_file": gguf_file}
    config = AutoConfig.from_pretrained(path, trust_remote_code=False, **options)
    return int(config.get_text_config().num_hidden_layers)


def chosen_layers(layers: Sequence[int] | None, subject: Subject) -> list[int]:
    """``layers``, or all layers of the model; layer l is the l-th one.

    Args:
        layers: from 1 to the number of layers; None for all.
        subject: the model under attack.

    Raises:
        ValueError: if the model has no such layer; naming its depth.
    """
    depth = depth_of(subject)
    wanted = list(range(1, depth + 1)) if layers is None else list(layers)
    if wrong := [layer for layer in wanted if not 1 <= layer <= depth]:
        raise ValueError(
            f"layers={wanted} name the layers {wrong}, but the model in {subject.model!r} has {depth} layers. Accepted "
            f"are 1 to {depth}, or None for all; models of different depth need None, or layers that all of them have."
        )
    return wanted


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
        raise ValueError(f"{type(model).__name__} has no list of layers; attacks on layers need one.")
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


@contextmanager
def exit_after(model: nn.Module, layer: int) -> Iterator[None]:
    """Within the context, the final norm and the head get the output of ``layer`` instead of the last one.

    Everything that the model does to its logits stays.

    Args:
        model: a causal language model of transformers.
        layer: from 1 to the number of layers.
    """
    norm, states = final_norm(model), [torch.empty(0)]

    def keep(module: nn.Module, given: Any, output: Any) -> None:
        states[0] = states_in(output)

    def replace(module: nn.Module, given: tuple[Any, ...]) -> tuple[Any, ...]:
        return (states[0], *given[1:])

    hooks = [
        decoder_layers(model)[layer - 1].register_forward_hook(keep),
        norm.register_forward_pre_hook(replace),
    ]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
