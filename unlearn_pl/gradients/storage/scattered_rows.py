"""Gradient rows scattered over the ranks of DDP."""

from collections.abc import Sequence

import torch
import torch.distributed as dist
from torch import Tensor, nn

from unlearn_pl.gradients.rows import Row, restore
from unlearn_pl.gradients.storage.row_storage import RowStorage


class ScatteredRows(RowStorage):
    """Each of N ranks keeps one N-th of every row: ``K / N`` copies of the gradient instead of ``K - 1``.

    Backward passes leave gradients on their rank. A finished row is summed over ranks by reduce-scatters, the Gramian
    is the sum of the parts' products, and only the combined gradient is gathered. With P trained weights that sends
    ``(K + 1) P (N - 1) / N`` numbers per rank and step, against ``2 K P (N - 1) / N`` for an all-reduce of every row;
    but not concurrently with the backward pass, unlike DDP.

    For ``strategy="ddp"``; a single process keeps rows whole. Gradients of FSDP2 are sharded anyway.
    """

    scatters = True

    def keep(self, row: Row, *, last: bool) -> Row:
        """This rank's part of each gradient's sum over ranks, flattened and padded to equal parts."""
        return [None if g is None else _reduce_scatter(g) for g in row] if dist.is_initialized() else row

    def share(self, element_size: int, place: torch.device, world_size: int) -> float:
        """One part of ``world_size``."""
        return 1 / world_size

    def leave(self, parameters: Sequence[nn.Parameter], combined: Row) -> None:
        """Gather the combination."""
        if dist.is_initialized():
            combined = [None if g is None else _gather(g, p) for g, p in zip(combined, parameters, strict=True)]
        restore(parameters, combined)


def _reduce_scatter(gradient: Tensor) -> Tensor:
    size = dist.get_world_size()
    flat = nn.functional.pad(gradient.flatten(), (0, -gradient.numel() % size))
    if dist.get_backend() == "gloo":  # its reduce-scatter is an all-reduce
        parts = torch.empty_like(flat)
        dist.all_to_all_single(parts, flat)
        return parts.view(size, -1).sum(dim=0)
    part = flat.new_empty(len(flat) // size)
    dist.reduce_scatter_tensor(part, flat)
    return part


def _gather(part: Tensor, parameter: nn.Parameter) -> Tensor:
    flat = part.new_empty(len(part) * dist.get_world_size())
    dist.all_gather_into_tensor(flat, part)
    return flat[: parameter.numel()].view_as(parameter)
