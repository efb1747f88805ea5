"""Input activation norms of linear layers."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, distributed, nn


class InputNorms:
    """Sums the squared inputs of a model's linear layers, from construction until :meth:`close`.

    Args:
        model: model to observe. With padding, it must be called with the keyword ``attention_mask [B, T]``; padding is
            not counted.
    """

    def __init__(self, model: nn.Module) -> None:
        self._squares: dict[str, Tensor] = {}
        self._mask: Tensor | None = None
        self._inside = False
        linear = {name: module for name, module in model.named_modules() if isinstance(module, nn.Linear)}
        self._handles = [
            model.register_forward_pre_hook(self._enter_model, with_kwargs=True),
            model.register_forward_hook(self._leave_model),
        ]
        for name, module in linear.items():
            self._handles.append(module.register_forward_pre_hook(self._see_layer(f"{name}.weight")))

    def norms(self, world_size: int = 1) -> dict[str, Tensor]:
        """Name of a layer's weight to ``[in]``: Euclidean length of each input, over all tokens and ranks."""
        for squares in self._squares.values():
            if world_size > 1:
                distributed.all_reduce(squares)
        return {name: squares.sqrt() for name, squares in self._squares.items()}

    def close(self) -> None:
        """Remove the hooks."""
        for handle in self._handles:
            handle.remove()

    def _enter_model(self, _: nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        self._mask = kwargs.get("attention_mask")
        self._inside = True

    def _leave_model(self, *_: object) -> None:
        self._inside = False

    def _see_layer(self, name: str) -> Any:
        def see(_: nn.Module, args: tuple[Tensor, ...]) -> None:
            if not self._inside:
                return  # a checkpointed layer that the backward pass runs again
            inputs = args[0].detach()
            if self._mask is not None and inputs.shape[:-1] == self._mask.shape:
                inputs = inputs[self._mask.bool()]
            squares = inputs.flatten(0, -2).float().square().sum(dim=0)
            self._squares[name] = self._squares.get(name, torch.zeros_like(squares)) + squares

        return see
