"""Inputs of layers and gradients of their outputs, token by token, while backward passes run."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle


class TokenRecords:
    """Records ``a_t`` and ``d_t`` of every token: the gradient of a layer's matrix is ``sum_t d_t a_t^T``.

    Tokens whose ``d_t`` is 0, such as padding, are left out.

    Args:
        layers: name to layer with one input ``[..., in]`` and one output ``[..., out]``.
    """

    def __init__(self, layers: Mapping[str, nn.Module]) -> None:
        self._layers = layers
        self._inputs: dict[str, list[Tensor]] = {name: [] for name in layers}
        self._gradients: dict[str, list[Tensor]] = {name: [] for name in layers}

    @contextmanager
    def recording(self) -> Iterator[None]:
        """Record within the context."""
        handles: list[RemovableHandle] = []
        try:
            handles += [layer.register_forward_hook(self._hook(name)) for name, layer in self._layers.items()]
            yield
        finally:
            for handle in handles:
                handle.remove()

    def inputs(self, name: str, size: int, device: torch.device) -> Tensor:
        """``a_t [n, size]`` of this rank, fp32; n is 0 if no gradient came through the layer."""
        return torch.cat([torch.zeros(0, size, device=device), *self._inputs[name]])

    def gradients(self, name: str, size: int, device: torch.device) -> Tensor:
        """``d_t [n, size]`` of this rank, fp32; n is 0 if no gradient came through the layer."""
        return torch.cat([torch.zeros(0, size, device=device), *self._gradients[name]])

    def _hook(self, name: str) -> Callable[[nn.Module, tuple[Tensor, ...], Tensor], None]:
        def see(_: nn.Module, args: tuple[Tensor, ...], output: Tensor) -> None:
            if not output.requires_grad:
                return
            inputs = args[0].detach()

            def record(gradient: Tensor) -> None:
                gradients = gradient.detach().flatten(0, -2).float()
                used = gradients.ne(0).any(dim=-1)
                self._inputs[name].append(inputs.flatten(0, -2)[used].float())
                self._gradients[name].append(gradients[used])

            # Of the output, and not of the layer: what checkpointing runs again has outputs of its own.
            output.register_hook(record)

        return see


def gathered(vectors: Tensor, world_size: int) -> Tensor:
    """The vectors ``[n, D]`` of all ranks, one rank after another; n may differ, D may not."""
    if world_size == 1:
        return vectors
    counts = [torch.zeros(1, dtype=torch.long, device=vectors.device) for _ in range(world_size)]
    torch.distributed.all_gather(counts, torch.tensor([len(vectors)], device=vectors.device))
    longest = int(torch.cat(counts).max())
    padded = vectors.new_zeros(longest, vectors.shape[1])
    padded[: len(vectors)] = vectors
    parts = [torch.zeros_like(padded) for _ in range(world_size)]
    torch.distributed.all_gather(parts, padded)
    return torch.cat([part[: int(count)] for part, count in zip(parts, counts, strict=True)])
