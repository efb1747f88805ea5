"""Rules that compete with the goal barrier, in simple forms of their papers."""

from collections.abc import Mapping, Sequence
from typing import Any

import lightning.pytorch as pl
import torch
from torch import Tensor, nn

from unlearn_pl.combiners import GramianCombiner, LossCombiner, RowCombiner
from unlearn_pl.combiners.two_block import TwoBlockCombiner
from unlearn_pl.gradients import Row, RowObserver
from unlearn_pl.types import Role


class FAMO(LossCombiner):
    """All losses fall at the same relative rate: weights ``z_k / (L_k - floor_k)``, ``z`` a softmax that follows it.

    References:
        Liu et al., FAMO: Fast adaptive multitask optimization, NeurIPS 2023, arXiv 2306.03792. Here the change of the
        losses is that between steps, on different batches, and a loss that falls below 0 lowers its own floor.
    """

    def setup(self, names: Sequence[str], roles: Sequence[Role], zero_at_start: Sequence[bool] = ()) -> None:
        """See :meth:`Combiner.setup`."""
        super().setup(names, roles, zero_at_start)
        self._logits = torch.zeros(len(names), dtype=torch.float64, requires_grad=True)
        self._optimizer = torch.optim.Adam([self._logits], lr=0.025, weight_decay=1e-3)
        self._floors = torch.zeros(len(names), dtype=torch.float64)
        self._before: Tensor | None = None

    @torch.enable_grad()
    def weigh(self, losses: Tensor) -> Tensor:
        """Weights whose mean is 1."""
        if losses.isnan().any():
            return torch.ones_like(losses)
        self._floors = self._floors.minimum(losses - (losses < 0).double())
        height = (losses - self._floors).clamp(min=1e-3).log()
        if self._before is not None:
            self._logits.grad = torch.autograd.grad(self._logits.softmax(0), self._logits, self._before - height)[0]
            self._optimizer.step()
        self._before = height
        weights = self._logits.detach().softmax(0) / height.exp()
        return weights / weights.mean()


class SmoothTchebycheff(LossCombiner):
    """The softmax of the losses, each between its ideal and its largest value: the worst one gets the weight.

    Args:
        temperature: of the softmax.

    References:
        Lin et al., Smooth Tchebycheff scalarization for multi-objective optimization, ICML 2024, arXiv 2402.19078.
    """

    def __init__(self, temperature: float = 0.3) -> None:
        super().__init__()
        self.temperature = temperature

    def setup(self, names: Sequence[str], roles: Sequence[Role], zero_at_start: Sequence[bool] = ()) -> None:
        """See :meth:`Combiner.setup`."""
        super().setup(names, roles, zero_at_start)
        self._ideal = torch.zeros(len(names), dtype=torch.float64)
        self._range = torch.full([len(names)], 0.05, dtype=torch.float64)

    def weigh(self, losses: Tensor) -> Tensor:
        """Weights whose mean is 1."""
        if losses.isnan().any():
            return torch.ones_like(losses)
        self._ideal = self._ideal.minimum(losses)
        self._range = self._range.maximum(losses - self._ideal)
        weights = ((losses - self._ideal) / self._range / self.temperature).softmax(0) / self._range
        return weights / weights.mean()


class AugmentedLagrangian(LossCombiner):
    """Keep, subject to the goal of forgetting: the forget losses weigh ``max(0, lambda + rho e)``, the others 1.

    Args:
        rho: weight of the distance ``e`` from the goal, which is 1 at the start.
        step: growth of ``lambda`` per step and distance.
    """

    weighs_distances = True

    def __init__(self, rho: float = 1.0, step: float = 0.1) -> None:
        super().__init__()
        self.rho, self.step, self.multiplier = rho, step, 0.0

    def weigh(self, losses: Tensor) -> Tensor:
        """The weights, from the largest distance of a forget objective."""
        forget = self.members_of("forget")
        distance = min(1.0, max(self.standing.of(forget).tolist(), default=1.0))
        self.multiplier = max(0.0, self.multiplier + self.step * distance)
        return torch.ones_like(losses).masked_fill(forget, max(0.0, self.multiplier + self.rho * distance))


class DynamicBarrier(TwoBlockCombiner):
    """The direction nearest to the forget gradient along which the retain loss falls: ``r . d >= |r|^2``.

    References:
        Gong et al., Automatic and harmless regularization with constrained and lexicographic optimization, NeurIPS
        2021.
    """

    def weigh_blocks(self, ff: float, rr: float, fr: float) -> tuple[float, float]:
        """Weight 1 of ``f``, and the multiple of ``r`` that meets the constraint."""
        return 1.0, max(0.0, 1.0 - fr / rr)


class AveragedGRU(RowCombiner):
    """The retain gradient, and the forget gradient without its conflict with the average of the former.

    Args:
        decay: of the average.

    References:
        Wang et al., GRU, ICML 2025, arXiv 2503.09117; here each parameter is projected by itself, and the retain
        losses are descended too.
    """

    def __init__(self, decay: float = 0.8) -> None:
        super().__init__(normalization="none")
        self.decay = decay
        self._averages: list[Tensor | None] = []
        self._next = 0

    def __call__(self, gramian: Tensor | None, losses: Tensor) -> Tensor:
        """See :meth:`Combiner.__call__`."""
        self._next = 0
        return super().__call__(gramian, losses)

    def merge(self, gradients: Sequence[Tensor | None]) -> Tensor | None:
        """See :meth:`RowCombiner.merge`."""
        forget, retain = (
            _sum([g for g, own in zip(gradients, self._roles, strict=True) if own == role])
            for role in ("forget", "retain")
        )
        average = self._averaged(retain)
        if forget is not None and average is not None:
            conflict = (forget * average).sum().clamp(max=0.0) / average.square().sum().clamp(min=1e-30)
            forget = forget - conflict * average
        return _sum([forget, retain])

    def _averaged(self, retain: Tensor | None) -> Tensor | None:
        if self._next == len(self._averages):
            self._averages.append(None)
        before = self._averages[self._next]
        now = before if retain is None else retain.clone() if before is None else before.lerp(retain, 1 - self.decay)
        self._averages[self._next] = now
        self._next += 1
        return now


class WeightsWithRows(GramianCombiner):
    """The plain sum on gradient rows, which :class:`ProjectedStep` needs."""

    def __init__(self) -> None:
        super().__init__(normalization="none")

    def weigh(self, gramian: Tensor, losses: Tensor) -> Tensor:
        """Weights 1."""
        return torch.ones_like(losses)


class ProjectedStep(pl.Callback, RowObserver):
    """Projects every change of the weights on ``{d: g . d <= 0}`` for the retain gradients of the last steps.

    Args:
        remembered: number of steps whose retain gradients are kept.
        sweeps: rounds of Dykstra's alternating projections.
    """

    def __init__(self, remembered: int = 4, sweeps: int = 20) -> None:
        self.remembered, self.sweeps = remembered, sweeps
        self._retain: list[Tensor] = []
        self._before: Tensor | None = None
        self._parameters: Sequence[nn.Parameter] = ()

    def on_rows(self, rows: Mapping[str, Row], weights: Tensor, parameters: Sequence[nn.Parameter]) -> None:
        """Remember the sum of the retain gradients, and the weights before the step."""
        retain = [row for name, row in rows.items() if not name.startswith("forget")]
        summed = [_sum([row[i] for row in retain]) for i in range(len(parameters))]
        flat = [torch.zeros_like(p) if g is None else g for g, p in zip(summed, parameters, strict=True)]
        self._retain = [*self._retain, nn.utils.parameters_to_vector(flat)][-self.remembered :]
        self._before = nn.utils.parameters_to_vector(parameters).detach()
        self._parameters = parameters

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Replace the step by its projection."""
        if self._before is not None:
            with torch.no_grad():
                step = nn.utils.parameters_to_vector(self._parameters) - self._before
                projected = self._before + project(step, torch.stack(self._retain), self.sweeps)
                nn.utils.vector_to_parameters(projected, self._parameters)
            self._before = None


def project(step: Tensor, normals: Tensor, sweeps: int = 20) -> Tensor:
    """The nearest vector to ``step [n]`` with no positive product with any of ``normals [m, n]``, by Dykstra."""
    normals = nn.functional.normalize(normals, dim=1)
    multipliers = torch.zeros(len(normals), dtype=step.dtype)
    for _ in range(sweeps):
        for i, normal in enumerate(normals):
            free = step + multipliers[i] * normal
            multipliers[i] = (free @ normal).clamp(min=0.0)
            step = free - multipliers[i] * normal
    return step


def _sum(parts: Sequence[Tensor | None]) -> Tensor | None:
    present = [part for part in parts if part is not None]
    return torch.stack(present).sum(0) if present else None
