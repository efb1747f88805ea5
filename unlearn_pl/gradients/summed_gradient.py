"""The gradient of a weighted sum of the losses, and what is measured of rows of any number."""

from collections.abc import Sequence

import torch
from torch import Tensor

from unlearn_pl.gradients.geometry import Geometry
from unlearn_pl.gradients.rows import Row, block_gramians, combine, harvest, restore
from unlearn_pl.gradients.runtime import Runtime


class SummedGradient:
    """``g = sum_k w_k g_k``, which is in ``.grad``.

    Args:
        losses: K of ``[]``, this rank's shares of the mean losses.
        runtime: parameters and ranks.
    """

    def __init__(self, losses: Sequence[Tensor], runtime: Runtime) -> None:
        self._losses = losses
        self._runtime = runtime

    def measure(self, geometry: Geometry) -> tuple[Tensor, Tensor]:
        """The losses ``[K]`` of the window and the products ``[N, 1, 1]`` of the sum with itself, over all ranks."""
        row = harvest(self._runtime.parameters)
        restore(self._runtime.parameters, row)
        return measure_rows(self._losses, [row], geometry, self._runtime, parts=self._runtime.sharded)

    def scale(self, factor: float) -> None:
        """Leave ``factor * g`` in ``.grad``; with factor 0 nothing at all, so that what is not finite is gone."""
        parameters = self._runtime.parameters
        combine(parameters, [harvest(parameters)], [[factor]])


def measure_rows(
    losses: Sequence[Tensor], rows: Sequence[Row], geometry: Geometry, runtime: Runtime, *, parts: bool
) -> tuple[Tensor, Tensor]:
    """The mean losses ``[K]``, and the products ``[N, R, R]`` of R rows, over all ranks; fp64 on the CPU.

    Args:
        losses: this rank's shares.
        rows: gradient rows, already reduced over ranks.
        geometry: blocks and metric of the products.
        runtime: number of ranks.
        parts: every rank has a part of each row, whose products add up; otherwise all ranks have the same rows.
    """
    # Autocast would round the products.
    with torch.autocast(runtime.parameters[0].device.type, enabled=False):
        local = block_gramians(rows, geometry.blocks, geometry.metric)
        share = local if parts else local / runtime.world_size
        i, j = torch.triu_indices(*local.shape[1:], device=local.device)  # one half of a symmetric matrix
        packed = torch.cat([torch.stack([loss.to(local.device) for loss in losses]), share[:, i, j].flatten()])
        if runtime.world_size > 1:
            torch.distributed.all_reduce(packed)
        packed = packed.cpu()
    gramians, (i, j) = torch.empty_like(local, device="cpu"), torch.triu_indices(*local.shape[1:])
    gramians[:, i, j] = gramians[:, j, i] = packed[len(losses) :].view(len(local), -1)
    return packed[: len(losses)], gramians
