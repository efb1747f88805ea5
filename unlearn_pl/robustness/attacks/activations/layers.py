"""The layers of a model under attack: how many there are, and what stands after the last one."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from unlearn_pl.models import decoder_layers
from unlearn_pl.models.language.names import load_config
from unlearn_pl.models.layers.states import final_norm, states_in
from unlearn_pl.robustness.target import Subject


def depth_of(subject: Subject) -> int:
    """Number of layers of the model, read from its configuration, without its weights."""
    return int(load_config(subject.model).num_hidden_layers)


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
