"""What one optimizer step found out, reduced over ranks, and how it is reported."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from unlearn_pl.gradients import Geometry, Row, block_gramians


@dataclass
class Step:
    """Losses and gradient geometry of one window, equal on all ranks; fp64 on the CPU.

    Attributes:
        names: the K objectives.
        losses: ``[K]`` mean losses over the window and all ranks.
        gramians: ``[N, K, K]`` products of the rows in each of N blocks of parameters; ``[1, 1, 1]`` when only the
            combined gradient exists.
        weights: ``[N, K]`` per block; all 0 when the step is skipped.
        stationarity: min-norm value of the unit-normalised Gramian; NaN without one.
    """

    names: Sequence[str]
    losses: Tensor
    gramians: Tensor
    weights: Tensor
    stationarity: float = float("nan")

    @property
    def gramian(self) -> Tensor:
        """Products of the whole rows ``[K, K]``."""
        return self.gramians.sum(dim=0)

    @property
    def norms(self) -> Tensor:
        """Gradient norms ``[K]``, or ``[1]`` of the combined gradient."""
        return self.gramian.diagonal().clamp(min=0).sqrt()

    @property
    def length(self) -> float:
        """Norm of the combination of the rows."""
        square = torch.einsum("bi,bij,bj->", self.weights, self.gramians.nan_to_num(), self.weights)
        return square.clamp(min=0).sqrt().item()

    @property
    def mean_weights(self) -> Tensor:
        """Weights ``[K]``, averaged over the blocks."""
        return self.weights.mean(dim=0)

    @property
    def finite(self) -> Tensor:
        """True per objective whose loss and gradient are finite ``[K]``."""
        return torch.isfinite(self.losses) & torch.isfinite(self.gramian.diagonal())

    def metrics(self) -> dict[str, float]:
        """The values that are logged, by key."""
        metrics: dict[str, float] = {}
        for k, name in enumerate(self.names):
            metrics[f"train/loss/{name}"] = self.losses[k].item()
            metrics[f"train/weight/{name}"] = self.mean_weights[k].item()
        if len(self.gramian) < len(self.names):
            return metrics | {"train/grad_norm": self.norms.item()}
        cosines = self.gramian / torch.outer(self.norms, self.norms)
        for k, name in enumerate(self.names):
            metrics[f"train/grad_norm/{name}"] = self.norms[k].item()
            for j, other in enumerate(self.names[:k]):
                metrics[f"train/cosine/{other}-{name}"] = cosines[k, j].item()
        return metrics | {"train/stationarity": self.stationarity}


def measure(
    names: Sequence[str],
    losses: Mapping[str, Tensor],
    rows: Sequence[Row],
    geometry: Geometry,
    *,
    world_size: int,
    sharded: bool,
) -> Step:
    """Losses and Gramians of the window over all ranks, in one small collective and one transfer to the CPU.

    Args:
        names: the K objectives.
        losses: each rank's share of the mean losses.
        rows: gradient rows, already reduced over ranks.
        geometry: blocks and metric of the products.
        world_size: number of ranks.
        sharded: the rows are shards, whose products add up; otherwise every rank holds the same rows.
    """
    local = block_gramians(rows, geometry.blocks, geometry.metric)
    share = local if sharded else local / world_size
    i, j = torch.triu_indices(*local.shape[1:], device=local.device)  # one half of a symmetric matrix
    packed = torch.cat([torch.stack([losses[name].to(local.device) for name in names]), share[:, i, j].flatten()])
    if world_size > 1:
        torch.distributed.all_reduce(packed)
    packed = packed.cpu()
    gramians, (i, j) = torch.empty_like(local, device="cpu"), torch.triu_indices(*local.shape[1:])
    gramians[:, i, j] = gramians[:, j, i] = packed[len(names) :].view(len(local), -1)
    return Step(names, packed[: len(names)], gramians, torch.zeros(len(local), len(names)).double())


def measure_sketches(names: Sequence[str], losses: Mapping[str, Tensor], sketches: Tensor, world_size: int) -> Step:
    """As :func:`measure`, with the Gramian of the sketches of the rows.

    Args:
        names: the K objectives.
        losses: each rank's share of the mean losses.
        sketches: ``[K, size]``, each rank's addend.
        world_size: number of ranks.
    """
    shares = torch.stack([losses[name].to(sketches.device) for name in names])
    packed = torch.cat([shares.unsqueeze(1), sketches.double()], dim=1)
    if world_size > 1:
        torch.distributed.all_reduce(packed)
    rows = packed[:, 1:]
    on_cpu = torch.cat([packed[:, :1], rows @ rows.T], dim=1).cpu()
    return Step(names, on_cpu[:, 0], on_cpu[None, :, 1:], torch.zeros(1, len(names)).double())
