"""Forgetting without training: a matrix is refit, so that forget questions look like unknown ones (LUNAR)."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from unlearn_pl.models.layers.projection import output_projection
from unlearn_pl.models.layers.states import states_in
from unlearn_pl.models.modes import evaluation_mode
from unlearn_pl.models.sharding import decoder_layers
from unlearn_pl.models.weight_layout import WeightMatrix

Batches = Callable[[], Iterable[Mapping[str, Tensor]]]
"""Makes batches anew: ``input_ids`` and ``attention_mask [B, T]``, and with answers also ``last [B]``, the position of
the last token of each question; without it, that is the last token."""


@dataclass(frozen=True)
class Redirection:
    """What is added to a matrix.

    Attributes:
        name: of the weight.
        direction: ``[D]`` fp64, from the mean state of the forget questions to that of the references.
        change: in the shape of the weight, fp64.
        forget_error: mean over forget tokens of ``|D x - c v|^2``, relative to ``|c v|^2``: 0 where all have moved.
        retain_error: the same of ``|D x|^2`` over retain tokens: 0 where none has.
    """

    name: str
    direction: Tensor
    change: Tensor
    forget_error: float
    retain_error: float


@dataclass
class _Moments:
    """Of the inputs ``x`` of a matrix over all tokens, and of the states after its layer at the end of questions."""

    products: Tensor
    total: Tensor
    tokens: int
    states: Tensor
    questions: int

    @property
    def state(self) -> Tensor:
        """The mean state at the end of a question, ``[D]``."""
        return self.states / self.questions


def refit(
    model: nn.Module,
    layers: Sequence[int],
    forget: Batches,
    retain: Batches,
    references: Batches,
    factor: float = 2.0,
    ridge: float = 1e-4,
    retain_weight: float = 1.0,
) -> list[Redirection]:
    """Refit the output matrix of the MLP of some layers in place: forget tokens move by ``factor v``, others stay.

    ``v`` leads from the mean state of the forget questions, at their last token, to that of questions whose answer the
    model cannot know. For inputs ``x`` of the matrix ``W``, the change ``D`` minimizes

        ``mean_f |D x - c v|^2 + retain_weight mean_r |D x|^2 + lambda |D|^2``,

    which has the closed form ``c v mean_f(x)^T (mean_f x x^T + retain_weight mean_r x x^T + lambda)^-1``. Memory is
    that of a few matrices ``[inputs, inputs]`` in fp64. Layers are refit in their order, each on the states that the
    earlier ones lead to.

    Args:
        model: a causal language model of transformers; only the matrices of ``layers`` change.
        layers: from 1 to the number of layers.
        forget: batches of forget questions.
        retain: batches of retain questions.
        references: batches of questions whose answer the model cannot know.
        factor: ``c``; 0 changes nothing.
        ridge: ``lambda`` relative to the mean eigenvalue of the sum of products; larger is more careful.
        retain_weight: weight of the retain tokens against the forget tokens.

    Returns:
        What was added to each matrix.

    Raises:
        ValueError: if a number is out of range, layers are none or repeated, batches are empty, or a layer has no such
            matrix (:func:`~unlearn_pl.models.layers.projection.output_projection`).

    References:
        Shen et al., LLM Unlearning via Neural Activation Redirection (LUNAR), arXiv 2502.07218. The authors minimize
        the same errors by AdamW from the old matrix; this is their minimum.
    """
    check_options(layers, factor, ridge, retain_weight)
    for layer in layers:
        output_projection(model, layer)  # before anything is changed
    return [
        _redirect_layer(model, layer, (forget, retain, references), factor, ridge, retain_weight)
        for layer in sorted(layers)
    ]


def check_options(layers: Sequence[int], factor: float, ridge: float, retain_weight: float) -> None:
    """Check the arguments of :func:`refit` that need no model.

    Raises:
        ValueError: if one is out of range.
    """
    if not layers or len(set(layers)) < len(layers):
        raise ValueError(f"layers={list(layers)}; accepted: at least one, none of them twice.")
    if not math.isfinite(factor):
        raise ValueError(f"factor={factor}; accepted: a finite number.")
    if not 0 < ridge < math.inf:
        raise ValueError(f"ridge={ridge}; accepted: a positive number, relative to the inputs.")
    if not 0 <= retain_weight < math.inf:
        raise ValueError(f"retain_weight={retain_weight}; accepted: a finite number that is not negative.")


@torch.no_grad()
def _redirect_layer(
    model: nn.Module, layer: int, batches: Sequence[Batches], factor: float, ridge: float, retain_weight: float
) -> Redirection:
    matrix = output_projection(model, layer)
    forget, retain, references = (_measured(model, layer, matrix, each) for each in batches)
    direction = references.state - forget.state
    mean = forget.total / forget.tokens
    forget_products, retain_products = forget.products / forget.tokens, retain.products / retain.tokens
    products = forget_products + retain_weight * retain_products
    size = len(products)
    products.diagonal().add_(ridge * products.trace() / size + torch.finfo(products.dtype).tiny)
    weights = torch.linalg.solve(products, mean)  # of D = c v weights^T
    change = factor * torch.outer(direction, weights)
    (view,) = matrix.matrices(matrix.parameter.data)
    view.copy_(view.double() + change.to(view.device))
    return Redirection(
        name=matrix.name,
        direction=direction,
        change=change.movedim(-1, matrix.input_dim),
        forget_error=(weights @ forget_products @ weights - 2 * weights @ mean + 1).item(),
        retain_error=(weights @ retain_products @ weights).item(),
    )


@torch.no_grad()
def _measured(model: nn.Module, layer: int, matrix: WeightMatrix, batches: Batches) -> _Moments:
    """The moments of the tokens that are no padding, fp64."""
    size = matrix.parameter.shape[matrix.input_dim]
    width = matrix.parameter.shape[1 - matrix.input_dim]
    like = matrix.parameter.new_zeros((), dtype=torch.float64)
    found = _Moments(like.new_zeros(size, size), like.new_zeros(size), 0, like.new_zeros(width), 0)
    batch: Mapping[str, Tensor] = {}

    def add_inputs(_: nn.Module, given: tuple[Any, ...]) -> None:
        mask = batch["attention_mask"].bool()
        inputs = given[0].reshape(*mask.shape, size)[mask].double()
        found.products += inputs.T @ inputs
        found.total += inputs.sum(dim=0)
        found.tokens += len(inputs)

    def add_states(_: nn.Module, given: Any, output: Any) -> None:
        states, mask = states_in(output), batch["attention_mask"]
        positions = torch.arange(mask.shape[1], device=mask.device)
        last = batch["last"] if "last" in batch else (positions * mask).amax(dim=1)
        found.states += states[torch.arange(len(last), device=mask.device), last].double().sum(dim=0)
        found.questions += len(last)

    module = model.get_submodule(matrix.name.rpartition(".")[0])
    handles = [
        module.register_forward_pre_hook(add_inputs),
        decoder_layers(model)[layer - 1].register_forward_hook(add_states),
    ]
    try:
        with evaluation_mode(model):
            for given in batches():
                batch = {name: tensor.to(like.device) for name, tensor in given.items()}
                model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"], use_cache=False)
    finally:
        for handle in handles:
            handle.remove()
    if not found.questions:
        raise ValueError("There is no question in one of the three sets of batches; accepted: at least one in each.")
    return found
