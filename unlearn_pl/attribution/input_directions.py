"""Dominant directions of the inputs of a model's matrices, and changes of weights without them (SAGE)."""

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from unlearn_pl.models import evaluation_mode
from unlearn_pl.models.arithmetic.combine import Rule
from unlearn_pl.models.weight_layout import WeightMatrix, weight_matrices

_LAYER = re.compile(r"^.*?\.\d+\.")


class InputDirections:
    """The fewest orthonormal directions that hold a share of the squared inputs, for each matrix of a model.

    The principal axes of ``E[x x^T]`` over the tokens of some batches; the mean of the inputs is not subtracted, since
    a change of the weights acts on it as well. Found one decoder layer at a time, whenever a matrix of another layer is
    asked for, so that memory is that of one layer.

    Args:
        model: a model whose layers are matrices; stacks of experts are left out.
        batches: makes the batches anew: keyword arguments of the model, with ``attention_mask [B, T]``.
        energy: share of the squared inputs that the directions hold, in (0, 1).

    Raises:
        ValueError: if ``energy`` is out of range.
    """

    def __init__(
        self, model: nn.Module, batches: Callable[[], Iterable[Mapping[str, Tensor]]], energy: float = 0.95
    ) -> None:
        if not 0 < energy < 1:
            raise ValueError(f"energy={energy}; accepted: a share in (0, 1).")
        self.matrices = {name: matrix for name, matrix in weight_matrices(model).items() if matrix.parameter.dim() == 2}
        self._model = model
        self._batches = batches
        self._energy = energy
        self._found: dict[str, Tensor] = {}

    def of(self, matrix: WeightMatrix) -> Tensor:
        """The directions ``[in, r]`` of a matrix's inputs, fp32, on the CPU."""
        if matrix.name not in self._found:
            layer = _layer_of(matrix.name)
            names = [name for name in self.matrices if _layer_of(name) == layer]
            products = _products(self._model, names, self._batches())
            unseen = torch.zeros(0, 0)  # of an expert to which no token came
            self._found = {name: principal_axes(products.get(name, unseen), self._energy) for name in names}
        found = self._found[matrix.name]
        return found if len(found) else found.new_zeros(matrix.parameter.shape[matrix.input_dim], 0)


def cleaned(directions: InputDirections) -> Rule:
    """The rule for a weight: its change without the part that acts on the dominant directions of its inputs.

    Args:
        directions: of the inputs of the matrices.

    References:
        SAGE, arXiv 2606.18309.
    """

    def rule(name: str, before: Tensor, after: Tensor) -> Tensor:
        matrix = directions.matrices.get(name)
        if matrix is None:
            return after
        axes = directions.of(matrix)
        change = (after.float() - before.float()).movedim(matrix.input_dim, -1)
        kept = change - (change @ axes) @ axes.T
        return before.float() + kept.movedim(-1, matrix.input_dim)

    return rule


def principal_axes(products: Tensor, energy: float) -> Tensor:
    """The fewest eigenvectors whose eigenvalues make up ``energy`` of the trace: ``[D, r]`` fp32, the largest first.

    Args:
        products: ``[D, D]`` a symmetric matrix without negative eigenvalues.
        energy: share of the trace.

    Example:
        >>> principal_axes(torch.diag(torch.tensor([8.0, 1.0, 1.0])), 0.75).abs().flatten()
        tensor([1., 0., 0.])
    """
    values, axes = torch.linalg.eigh(products)
    values, axes = values.flip(0).clamp(min=0), axes.flip(1)
    held = values.cumsum(0) / values.sum().clamp(min=torch.finfo(values.dtype).tiny)
    count = min(int((held < energy).sum()) + 1, int((values > 0).sum()))
    return axes[:, :count].float().cpu()


def _layer_of(name: str) -> str:
    """``model.layers.3.`` for the weights of a decoder layer; the name itself for others."""
    found = _LAYER.match(name)
    return found.group() if found else name


@torch.no_grad()
def _products(model: nn.Module, names: list[str], batches: Iterable[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """Name of a matrix to ``sum_x x x^T [in, in]`` over the tokens that are no padding; fp64."""
    products: dict[str, Tensor] = {}
    mask = torch.ones(0)

    def adder(name: str) -> Callable[..., None]:
        def add(_: nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
            inputs: Tensor = next(iter([*args, *kwargs.values()]))
            tokens = inputs[mask.bool()] if inputs.shape[:-1] == mask.shape else inputs.flatten(0, -2)
            tokens = tokens.double()
            products[name] = products.get(name, 0) + tokens.T @ tokens

        return add

    modules = dict(model.named_modules())
    handles = [
        modules[name.rpartition(".")[0]].register_forward_pre_hook(adder(name), with_kwargs=True) for name in names
    ]
    try:
        with evaluation_mode(model):
            for batch in batches:
                mask = batch["attention_mask"]
                model(**batch)
    finally:
        for handle in handles:
            handle.remove()
    return products
