"""The matrix through which the MLP of a layer writes its output."""

from typing import Any

import torch
from torch import Tensor, nn

from unlearn_pl.models.adapters import has_adapter
from unlearn_pl.models.layers.states import states_in
from unlearn_pl.models.modes import evaluation_mode
from unlearn_pl.models.sharding import decoder_layers
from unlearn_pl.models.weight_layout import WeightMatrix, weight_matrices

TOLERANCE = 0.1
"""Largest error of a layer's change, relative to what was added; weights in half precision round."""


def output_projection(model: nn.Module, layer: int) -> WeightMatrix:
    """The matrix of the MLP whose output is added to the states as it is.

    It is found by what it does: what is added to its output appears in the output of the layer, unchanged. In models
    that run attention and MLP side by side, attention has such a matrix, too; it is told apart by its name.

    Args:
        model: a causal language model of transformers.
        layer: from 1 to the number of layers; the l-th one.

    Returns:
        The matrix, with its name in the model.

    Raises:
        ValueError: if the model has no such layer or no such matrix, adapters or quantized weights, or if the matrix is
            shared by several layers.
    """
    name = type(model).__name__
    if has_adapter(model):
        raise ValueError(f"{name} has adapters; accepted: a whole model (save_pretrained merges adapters).")
    layers = decoder_layers(model)
    if not 1 <= layer <= len(layers):
        raise ValueError(f"layer={layer}, but {name} has {len(layers)} layers; accepted: 1 to {len(layers)}.")
    own = {id(parameter) for parameter in layers[layer - 1].parameters()}
    if not all(parameter.is_floating_point() for parameter in layers[layer - 1].parameters()):
        raise ValueError(f"The weights of {name} are quantized; accepted: weights in 16 bits or more.")
    candidates = [m for m in weight_matrices(model).values() if id(m.parameter) in own and m.parameter.dim() == 2]
    writing = [m for m in candidates if _adds_its_output(model, layers[layer - 1], m)]
    found = [m for m in writing if "att" not in m.name.lower()]
    if len(found) != 1:
        named = ", ".join(m.name for m in found) or "none"
        raise ValueError(
            f"Layer {layer} of {name} has no single matrix outside of attention whose output is added to the states as "
            f"it is (found: {named}); accepted: models such as Llama, Qwen, Phi, GPT-2, GPT-NeoX or Falcon, with a "
            "dense MLP and no norm after it."
        )
    sharing = [n for n, p in model.named_parameters(remove_duplicate=False) if p is found[0].parameter]
    if len(sharing) > 1:
        raise ValueError(f"{', '.join(sharing)} are one weight; accepted: a weight of a single layer.")
    return found[0]


@torch.no_grad()
def _adds_its_output(model: nn.Module, layer: nn.Module, matrix: WeightMatrix) -> bool:
    """Whether what is added to the output of a matrix is added to the output of the layer."""
    module = model.get_submodule(matrix.name.rpartition(".")[0])
    plain = _output(model, layer)
    if matrix.parameter.shape[1 - matrix.input_dim] != plain.shape[-1]:
        return False
    generator = torch.Generator().manual_seed(0)
    added = torch.randn(plain.shape[-1], generator=generator).to(plain) * plain.square().mean().sqrt()
    handle = module.register_forward_hook(lambda module, given, output: output + added)
    try:
        change = _output(model, layer) - plain
    finally:
        handle.remove()
    return bool((change - added).norm(dim=-1).max() < TOLERANCE * added.norm())


def _output(model: nn.Module, layer: nn.Module) -> Tensor:
    """The states after ``layer`` for a few tokens, ``[1, T, D]``."""
    seen: list[Tensor] = []

    def keep(module: nn.Module, given: Any, output: Any) -> None:
        seen.append(states_in(output))

    handle = layer.register_forward_hook(keep)
    try:
        with evaluation_mode(model):
            model(input_ids=torch.arange(1, 5, device=next(model.parameters()).device).unsqueeze(0))
    finally:
        handle.remove()
    return seen[0]
