"""Input activation norms of the layers' matrices."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, distributed, nn

from unlearn_pl.attribution.expert_inputs import expert_squares
from unlearn_pl.models.weight_layout import WeightMatrix, is_routed, weight_matrices


def scored_matrices(model: nn.Module) -> dict[str, WeightMatrix]:
    """Name to matrix of the layers whose inputs :class:`InputNorms` sees: all but experts of an unusual form."""
    modules = dict(model.named_modules())
    return {
        name: matrix
        for name, matrix in weight_matrices(model).items()
        if matrix.parameter.dim() == 2 or is_routed(modules[name.rpartition(".")[0]])
    }


class InputNorms:
    """Sums the squared inputs of a model's matrices, from construction until :meth:`close`.

    Args:
        model: model to observe. With padding, it must be called with the keyword ``attention_mask [B, T]``; padding is
            not counted.
    """

    def __init__(self, model: nn.Module) -> None:
        self._matrices = scored_matrices(model)
        self._device = next(model.parameters()).device
        self._squares: dict[str, Tensor] = {}
        self._mask: Tensor | None = None
        self._inside = False
        self._handles = [
            model.register_forward_pre_hook(self._enter_model, with_kwargs=True),
            model.register_forward_hook(self._leave_model),
        ]
        modules = dict(model.named_modules())
        for owner in dict.fromkeys(name.rpartition(".")[0] for name in self._matrices):
            see = self._see_experts(owner) if is_routed(modules[owner]) else self._see_layer(f"{owner}.weight")
            self._handles.append(modules[owner].register_forward_pre_hook(see, with_kwargs=True))

    def norms(self, world_size: int = 1) -> dict[str, Tensor]:
        """Name of a weight to the Euclidean length of each of its inputs, over all tokens and ranks.

        That is ``[in]`` for linear layers, ``[in, 1]`` for those that are stored as ``[in, out]``, and
        ``[experts, 1, in]`` or ``[experts, in, 1]`` for experts.
        """
        norms = {}
        for name, matrix in self._matrices.items():
            size = matrix.parameter.shape[matrix.input_dim]
            experts = matrix.parameter.shape[:-2]
            squares = self._squares.get(name)
            if squares is None:  # no token came here; on another rank, some may have
                squares = torch.zeros(*experts, size, device=self._device)
            if world_size > 1:
                distributed.all_reduce(squares)
            inputs_first = matrix.input_dim == matrix.parameter.dim() - 2
            shaped = squares.unsqueeze(-1) if inputs_first else squares.unsqueeze(-2) if experts else squares
            norms[name] = shaped.sqrt()
        return norms

    def close(self) -> None:
        """Remove the hooks."""
        for handle in self._handles:
            handle.remove()

    def _enter_model(self, _: nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        self._mask = kwargs.get("attention_mask")
        self._inside = True

    def _leave_model(self, *_: object) -> None:
        self._inside = False

    def _see_layer(self, name: str) -> Callable[..., None]:
        def see(_: nn.Module, args: tuple[Tensor, ...], kwargs: Mapping[str, Any]) -> None:
            if not self._inside:
                return  # a checkpointed layer that the backward pass runs again
            inputs = next(iter([*args, *kwargs.values()])).detach()
            real = self._real(inputs.shape[:-1])
            if real is not None:
                inputs = inputs[real]
            self._add(name, inputs.flatten(0, -2).float().square().sum(dim=0))

        return see

    def _see_experts(self, owner: str) -> Callable[..., None]:
        def see(experts: nn.Module, args: tuple[Tensor, ...], kwargs: Mapping[str, Any]) -> None:
            if not self._inside:
                return
            tokens, routes = (value.detach().flatten(0, -2) for value in [*args, *kwargs.values()][:2])
            real = self._real(tokens.shape[:-1])
            if real is not None:
                tokens, routes = tokens[real], routes[real]
            for name, squares in expert_squares(experts, tokens, routes).items():
                self._add(f"{owner}.{name}", squares)

        return see

    def _real(self, shape: torch.Size) -> Tensor | None:
        """The mask of the tokens that are not padding, for inputs ``[B, T]`` or, as of experts, ``[B T]``; or None."""
        if self._mask is None or shape not in (self._mask.shape, (self._mask.numel(),)):
            return None
        return self._mask.bool().view(shape)

    def _add(self, name: str, squares: Tensor) -> None:
        self._squares[name] = self._squares.get(name, torch.zeros_like(squares)) + squares
