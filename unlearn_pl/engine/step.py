"""Measurements and weights of one optimizer step, equal on all ranks, and the values that are logged."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass
class Step:
    """Losses and gradient geometry of one window; fp64 on the CPU.

    Attributes:
        names: names of the K objectives.
        readings: ``[K, 3]`` over the window and all ranks: mean loss, progress, and progress relative to the reference
            model, per example; NaN where there is none.
        gramians: ``[N, K, K]`` products of the rows in each of N blocks of parameters; ``[1, 1, 1]`` when only the
            combined gradient exists.
        weights: ``[N, K]`` per block; all 0 when the step is skipped.
        stationarity: min-norm value of the unit-normalized Gramian; NaN without one.
    """

    names: Sequence[str]
    readings: Tensor
    gramians: Tensor
    weights: Tensor
    stationarity: float = float("nan")

    @property
    def losses(self) -> Tensor:
        """Mean losses ``[K]``."""
        return self.readings[:, 0]

    @property
    def progress(self) -> Tensor:
        """Progress ``[K]``, in a unit that people understand (see :meth:`Objective.progress`); the loss without one."""
        return torch.where(self.readings[:, 1].isnan(), self.losses, self.readings[:, 1])

    @property
    def moves(self) -> bool:
        """Whether there is a gradient for the optimizer; False when the step is skipped."""
        return bool(self.weights.any())

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
        """``[K]`` bool: True where loss and gradient are finite."""
        return torch.isfinite(self.losses) & torch.isfinite(self.gramian.diagonal())

    def metrics(self) -> dict[str, float]:
        """The logged values, by key."""
        metrics: dict[str, float] = {}
        for k, name in enumerate(self.names):
            metrics[f"train/loss/{name}"] = self.losses[k].item()
            metrics[f"train/progress/{name}"] = self.progress[k].item()
            metrics[f"train/weight/{name}"] = self.mean_weights[k].item()
        if len(self.gramian) < len(self.names):
            return metrics | {"train/grad_norm": self.norms.item()}
        cosines = self.gramian / torch.outer(self.norms, self.norms)
        for k, name in enumerate(self.names):
            metrics[f"train/grad_norm/{name}"] = self.norms[k].item()
            for j, other in enumerate(self.names[:k]):
                metrics[f"train/cosine/{other}-{name}"] = cosines[k, j].item()
        return metrics | {"train/stationarity": self.stationarity}
