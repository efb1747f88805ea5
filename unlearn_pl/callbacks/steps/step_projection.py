"""The change that the optimizer has made, projected so that it climbs no remembered retain loss."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, get_args

import lightning.pytorch as pl
import torch
from lightning.pytorch.utilities import rank_zero_warn
from torch import Tensor, nn
from torch.optim import Optimizer

from unlearn_pl.callbacks.steps.backtracking import Backtracking
from unlearn_pl.callbacks.steps.remembered_rows import RememberedRows
from unlearn_pl.functional import dual_cone_projection
from unlearn_pl.functional.solvers.min_norm import MAX_OBJECTIVES
from unlearn_pl.gradients import Metric, Row, RowObserver, adam_metric, check_adam, gramian, local, window_of
from unlearn_pl.modules import UnlearningModule
from unlearn_pl.modules.micro_batches import micro_batches
from unlearn_pl.optim import DualOptim


class StepProjection(pl.Callback, RowObserver):
    """``theta + D'`` instead of ``theta + D``: the closest change with ``r . D' <= 0`` for every retain gradient ``r``.

    A combiner sees to it that the gradient climbs no loss. Momentum, the preconditioner of Adam, clipping and weight
    decay then turn the step, and :class:`~unlearn_pl.callbacks.ConflictMonitor` shows how far. This repairs it on the
    weights themselves, against the retain gradients of this step and of some before, so that one batch does not undo
    what another was for. To first order, no remembered retain loss rises.

    Of the changes that meet the conditions, ``D'`` is the one with the least ``(D' - D)^T H (D' - D)``; ``H`` is the
    identity, or with ``metric="adam"`` what Adam divides the gradient by. The quadratic program is solved exactly in
    the Gramian of the change and the gradients. A step that meets the conditions is left as it is, bit by bit.

    Logs ``train/projection/removed``, the length of what was removed as a share of that of the step, and
    ``train/projection/conflicts``, the number of retain gradients that the step would have climbed.

    A finite step may still raise a loss that no gradient along it raises. With ``backtracks``, the retain losses on the
    rows of this step are measured before and after it, and the step is halved while one of them has risen by more than
    ``tolerance``; this logs ``train/projection/share``, what is left of the step, and ``train/projection/rise``, the
    largest rise. It costs two forward passes of the retain streams and one for every halving.

    Each remembered gradient is as large as the trained weights, and so are those of the step and a copy of the weights.
    Weights in bfloat16 hardly resolve the change: train in ``bf16-mixed``. The projection comes directly after the
    optimizer, before other callbacks look at the weights.

    Args:
        memory: number of retain gradients of earlier steps that are remembered, the last ones; 0 for this step alone.
        remember_every: one step in so many is remembered.
        metric: ``euclidean``, or ``adam`` for an optimizer of the Adam family.
        backtracks: the most that a step is halved; 0 measures nothing.
        tolerance: rise of a retain loss in a step that is accepted, in the unit of the loss.

    Raises:
        ValueError: if an argument is out of range; before training, if there is no objective of role ``retain``, there
            are more gradients than the solver takes, or the module computes no whole gradient of every objective.

    References:
        Lopez-Paz and Ranzato, Gradient episodic memory for continual learning, NeurIPS 2017, arXiv 1706.08840 (the
        quadratic program, on gradients); Gradient Unlearning, arXiv 2511.17100 (the geometry of Adam). That the change
        of the weights is projected, and not the gradient, is ours.
    """

    def __init__(
        self,
        memory: int = 4,
        remember_every: int = 1,
        metric: Metric = "euclidean",
        backtracks: int = 0,
        tolerance: float = 1e-3,
    ) -> None:
        if not 0 <= memory < MAX_OBJECTIVES - 1:
            raise ValueError(f"memory is {memory}; accepted: 0 to {MAX_OBJECTIVES - 2} gradients.")
        if remember_every < 1:
            raise ValueError(f"remember_every is {remember_every}; accepted: 1 (every step) or more optimizer steps.")
        if metric not in get_args(Metric):
            raise ValueError(f"metric is {metric!r}; accepted: {', '.join(get_args(Metric))}.")
        if backtracks < 0:
            raise ValueError(f"backtracks is {backtracks}; accepted: 0 (none) or more halvings of a step.")
        if not 0 <= tolerance < math.inf:
            raise ValueError(f"tolerance is {tolerance}; accepted: 0 or a finite number above it.")
        self.memory = memory
        self.remember_every = remember_every
        self.metric = metric
        self.backtracks = backtracks
        self.tolerance = tolerance
        self._backtracking = Backtracking(backtracks, tolerance)
        self._start_over()

    def _start_over(self) -> None:
        self._past = RememberedRows(self.memory)
        self._steps = 0
        self._now: list[Row] = []
        self._before: list[Tensor] = []
        self._batch: Any = None
        self._metrics: dict[str, float] = {}
        self._remove: Callable[[], None] = lambda: None

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Reset; the checkpoint of a resumed run is read after this.

        Raises:
            ValueError: if the module has no retain gradients to project on, or too many.
        """
        if stage != "fit":
            return
        if not isinstance(pl_module, UnlearningModule):
            raise ValueError(f"StepProjection needs an UnlearningModule; the module is a {type(pl_module).__name__}.")
        self._start_over()
        self._retain = [name for name, objective in pl_module.objectives.items() if objective.role == "retain"]
        if not self._retain:
            raise ValueError("StepProjection needs an objective of role 'retain', and there is none.")
        if len(self._retain) + self.memory >= MAX_OBJECTIVES:
            raise ValueError(
                f"memory={self.memory} and the {len(self._retain)} retain objectives {self._retain} are more than the "
                f"{MAX_OBJECTIVES - 1} gradients that are accepted. Lower memory."
            )

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Follow the optimizer.

        Raises:
            ValueError: if no whole gradients are computed, or the metric is that of Adam and the optimizer is another.
        """
        assert isinstance(pl_module, UnlearningModule)
        parameters = pl_module.trained_parameters
        self._past.place(parameters)
        (optimizer,) = trainer.optimizers
        _check_rows(pl_module, optimizer)
        if self.metric == "adam":
            check_adam(optimizer)
        handles = [
            optimizer.register_step_pre_hook(lambda *_: self._keep(parameters, pl_module)),
            optimizer.register_step_post_hook(lambda *_: self._project(parameters, optimizer, pl_module)),
        ]

        def remove() -> None:
            for handle in handles:
                handle.remove()

        self._remove = remove

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Leave the optimizer alone."""
        self._remove()

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        """Leave the optimizer alone."""
        self._remove()

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Keep the rows that losses are measured on."""
        self._batch = batch if self.backtracks else None

    def on_rows(self, rows: Mapping[str, Row], weights: Tensor, parameters: Sequence[nn.Parameter]) -> None:
        """Copy the retain gradients, unless the step is skipped.

        Args:
            rows: objective to its gradient row, one tensor or None per parameter.
            weights: ``[K]`` in the order of ``rows``; all 0 for a skipped step.
            parameters: the parameters of the rows, not yet updated.
        """
        if weights.any():
            self._now = [[None if g is None else g.detach().clone() for g in rows[name]] for name in self._retain]

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Log what was removed."""
        self._batch = None
        if not self._metrics:
            return
        assert isinstance(pl_module, UnlearningModule)
        pl_module.log_dict(self._metrics, logger=False, batch_size=1)
        for logger in trainer.loggers:
            logger.log_metrics(self._metrics, step=pl_module.windows_closed)
        self._metrics = {}

    def state_dict(self) -> dict[str, Any]:
        """The remembered gradients, whole and on the CPU, and the number of steps; collective if they are sharded."""
        return {"steps": self._steps, "rows": self._past.state()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Resume with what was remembered."""
        self._steps = state_dict["steps"]
        self._past.load(state_dict["rows"])

    @torch.no_grad()
    def _keep(self, parameters: Sequence[nn.Parameter], module: UnlearningModule) -> None:
        if self.backtracks:
            runtime, data = module.runtime, micro_batches(self._batch, module.micro_batch_size)
            retain = {name: module.objectives[name] for name in self._retain}
            self._backtracking.start(module, window_of(data, retain, runtime.count, runtime.world_size))
        self._before = [local(p.detach()).clone() for p in parameters]

    @torch.no_grad()
    def _project(self, parameters: Sequence[nn.Parameter], optimizer: Optimizer, module: UnlearningModule) -> None:
        rows = [*self._now, *self._past.rows]
        change: Row = [local(p.detach()) - before for p, before in zip(parameters, self._before, strict=True)]
        before, self._before = self._before, []
        scale = adam_metric(optimizer, parameters) if self.metric == "adam" else None
        products = self._products(change, rows, scale, module)
        multipliers = _multipliers(products)
        for row, multiplier in zip(rows, multipliers.tolist(), strict=True):
            if multiplier > 0:
                _subtract(parameters, row, multiplier, scale)
        square = products[0, 0]
        removed = multipliers @ products[1:, 1:].nan_to_num() @ multipliers
        self._metrics = {
            "train/projection/removed": (removed.clamp(min=0) / square).sqrt().item() if square > 0 else 0.0,
            "train/projection/conflicts": float((products[0, 1:] > 0).sum()),
        }
        if self.backtracks:
            del change
            self._metrics |= self._backtracking.shorten(parameters, before)
        if self._now and self._steps % self.remember_every == 0:
            self._past.add(self._now)
        self._steps += 1
        self._now = []

    def _products(self, change: Row, rows: Sequence[Row], scale: Row | None, module: UnlearningModule) -> Tensor:
        """Products of the change and the rows in the metric, ``[1 + R, 1 + R]`` fp64 on the CPU; equal on all ranks."""
        products = gramian([change, *rows])
        if scale is not None:
            products[1:, 1:] = gramian(rows, scale) if rows else products[1:, 1:]
            products[0, 0] = gramian([_divided(change, scale)])[0, 0]
        ranks = module.runtime.world_size
        if ranks > 1:
            products = products if module.runtime.sharded else products / ranks
            torch.distributed.all_reduce(products)
        return products.cpu()


def _check_rows(module: UnlearningModule, optimizer: Optimizer) -> None:
    computed = module.combiner.uses_gramian or isinstance(optimizer, DualOptim)
    if not computed or not all(turn.whole_rows for turn in module.gradient.turns):
        raise ValueError(
            f"StepProjection needs a whole gradient of every objective, which combiner="
            f"{type(module.combiner).__name__} with gradient={type(module.gradient).__name__} does not compute. "
            "Accepted: a combiner of gradients, such as MinNorm, with gradient=FirstOrder()."
        )


def _multipliers(products: Tensor) -> Tensor:
    """``l >= 0 [R]`` of the closest change ``D' = D - H^-1 sum_i l_i r_i`` with ``r_i . D' <= 0``.

    Args:
        products: ``[1 + R, 1 + R]`` of the change and the gradients; those that are not finite, or 0, are left out.
    """
    multipliers = torch.zeros(len(products) - 1, dtype=torch.float64)
    usable = products.diagonal().isfinite() & (products.diagonal() > 0)
    conflicts = usable[1:] & (products[0, 1:] > 0)
    if not usable[0] or not conflicts.any():
        return multipliers
    kept = products[usable][:, usable].clone()
    kept[0, 1:] *= -1  # the solver's directions are those that are descended along
    kept[1:, 0] *= -1
    margins = torch.zeros(len(kept), dtype=torch.float64)
    margins[0] = -torch.inf
    preference = torch.zeros(len(kept), dtype=torch.float64)
    preference[0] = 1
    solution = dual_cone_projection(kept, preference, margins)
    if solution[0] != 1:
        rank_zero_warn("StepProjection found no solution for a step, which is left as it is.")
        return multipliers
    multipliers[usable[1:]] = solution[1:]
    return multipliers


def _divided(row: Row, scale: Row) -> Row:
    """``H^(1/2) D``; 0 where ``H^-1`` is 0, for elements that the optimizer has not moved yet."""
    divided = []
    for values, by in zip(row, scale, strict=True):
        if values is None or by is None:
            divided.append(values)
        else:
            divided.append(torch.where(by > 0, values / by.sqrt(), 0.0))
    return divided


def _subtract(parameters: Sequence[nn.Parameter], row: Row, multiplier: float, scale: Row | None) -> None:
    for i, (parameter, gradient) in enumerate(zip(parameters, row, strict=True)):
        if gradient is not None:
            by = None if scale is None else scale[i]
            step = local(gradient) if by is None else local(gradient) * by
            local(parameter).sub_(step.to(parameter.dtype), alpha=multiplier)
