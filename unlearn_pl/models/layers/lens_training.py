"""Training of tuned lenses on a frozen model."""

import random
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from unlearn_pl.functional.logprobs import upcast
from unlearn_pl.models.language.forward import stream_forward
from unlearn_pl.models.layers.lens import Lens
from unlearn_pl.models.layers.readout import readout_of
from unlearn_pl.models.modes import evaluation_mode
from unlearn_pl.models.sharding import decoder_layers
from unlearn_pl.types import TokenBatch


def train_lens(
    model: nn.Module,
    batches: Sequence[TokenBatch],
    layers: Sequence[int] | None = None,
    epochs: int = 4,
    learning_rate: float = 1e-3,
    seed: int = 0,
) -> tuple[Lens, dict[int, list[float]]]:
    """Affine maps of the states of inner layers after which the model's own readout predicts the labels.

    They begin at the identity (the logit lens), and are trained by AdamW on the cross-entropy of the labels. The model
    is only read.

    Args:
        model: a causal language model of transformers, in float32 or better.
        batches: ``[B, T]`` tokens with labels.
        layers: from 1 to the last layer but one; None for all of them. The last layer is the model's own output.
        epochs: how often each batch is seen.
        learning_rate: of AdamW.
        seed: of the order of the batches.

    Returns:
        The lenses, and for each layer the mean cross-entropy in nats before and in every epoch.

    Raises:
        ValueError: if the model has no such layer or no inner one, its readout is no norm and head, or there is no
            batch.
    """
    chosen = _inner_layers(model, layers)
    if epochs < 1 or not batches:
        raise ValueError(f"epochs={epochs} over {len(batches)} batches; accepted: at least one of each.")
    lens = _at_the_identity(model, chosen)
    parameters = [part for pair in lens.maps.values() for part in pair]
    optimizer = torch.optim.AdamW(parameters, lr=learning_rate, weight_decay=0.0)
    order, shuffle = list(batches), random.Random(seed)
    losses = {layer: [_epoch(model, lens, layer, order)] for layer in chosen}
    for _ in range(epochs):
        shuffle.shuffle(order)
        sums: dict[int, list[Tensor]] = {layer: [] for layer in chosen}
        for batch in order:
            optimizer.zero_grad()
            for layer, (states, labels) in _scored_states(model, batch, chosen).items():
                loss = _cross_entropy(lens, layer, states, labels)
                (loss / max(len(labels), 1)).backward()
                sums[layer].append(torch.stack([loss.detach(), loss.new_tensor(len(labels))]))
            optimizer.step()
        for layer, found in sums.items():
            total, count = torch.stack(found).sum(dim=0).tolist()
            losses[layer].append(total / max(count, 1))
    frozen = {layer: (matrix.detach(), vector.detach()) for layer, (matrix, vector) in lens.maps.items()}
    return Lens(frozen, lens.readout), losses


def _inner_layers(model: nn.Module, layers: Sequence[int] | None) -> list[int]:
    depth = len(decoder_layers(model))
    chosen = list(range(1, depth)) if layers is None else list(layers)
    if not chosen or len(set(chosen)) < len(chosen) or not all(1 <= layer < depth for layer in chosen):
        raise ValueError(
            f"layers={layers} of {depth}; accepted: layers from 1 to {depth - 1}, none of them twice. The last one is "
            "the model's own output and needs no lens."
        )
    return chosen


def _at_the_identity(model: nn.Module, layers: Sequence[int]) -> Lens:
    readout = readout_of(model)
    size = readout.head.shape[1]
    maps = {
        layer: (
            readout.head.new_zeros(size, size).requires_grad_(),
            readout.head.new_zeros(size).requires_grad_(),
        )
        for layer in layers
    }
    return Lens(maps, readout)


@torch.no_grad()
def _epoch(model: nn.Module, lens: Lens, layer: int, batches: Sequence[TokenBatch]) -> float:
    """The mean cross-entropy of the labels by one lens."""
    total, count = 0.0, 0
    for batch in batches:
        states, labels = _scored_states(model, batch, [layer])[layer]
        total += _cross_entropy(lens, layer, states, labels).item()
        count += len(labels)
    return total / max(count, 1)


@torch.no_grad()
def _scored_states(model: nn.Module, batch: TokenBatch, layers: Sequence[int]) -> dict[int, tuple[Tensor, Tensor]]:
    """For each layer the states ``[N, D]`` at the scored positions, and their labels ``[N]``."""
    with evaluation_mode(model):
        view = stream_forward(model, batch, {f"hidden.{layer}" for layer in layers})
    return {layer: (upcast(view.hidden[layer][view.mask]), view.labels[view.mask]) for layer in layers}


def _cross_entropy(lens: Lens, layer: int, states: Tensor, labels: Tensor) -> Tensor:
    """The sum over ``states [N, D]``, ``[]``."""
    return F.cross_entropy(lens.logits(layer, states), labels, reduction="sum")
