"""The optimizer step: from a window of micro-batches to the gradient that the combiner asks for."""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, get_args

import torch
from lightning.pytorch.cli import OptimizerCallable
from lightning.pytorch.strategies import DDPStrategy
from lightning.pytorch.utilities import rank_zero_info
from torch import Tensor, nn
from torch.distributed.tensor import DTensor
from torch.optim import Optimizer

from unlearn_pl.combiners import Combiner, RowCombiner
from unlearn_pl.functional import Rescale, rescale_weights
from unlearn_pl.gradients import (
    CountSketch,
    FirstOrder,
    Geometry,
    GradientSource,
    Metric,
    Replay,
    Row,
    RowObserver,
    RowStorage,
    Scope,
    WholeRows,
    Window,
    adam_metric,
    blocks_of,
    combine,
    group_streams,
    harvest,
    merge,
    mix,
    restore,
)
from unlearn_pl.masks import Mask
from unlearn_pl.models import CausalLM
from unlearn_pl.modules.checks import (
    check_optimizer,
    check_options,
    check_row_storage,
    check_rows_kept,
    check_scattering,
    check_streams,
)
from unlearn_pl.modules.memory import announce_memory, memory_errors_explained
from unlearn_pl.modules.options import GramianKind, OnNonFinite
from unlearn_pl.modules.progress import rewind_progress
from unlearn_pl.modules.refresh import Refresh
from unlearn_pl.modules.resume import check_division, division_of_steps
from unlearn_pl.modules.step import Step, measure, measure_sketches
from unlearn_pl.modules.training import TrainingModule
from unlearn_pl.objectives import Objective
from unlearn_pl.optim import DualOptim, Schedule
from unlearn_pl.types import Role, StreamView, TokenBatch, UnlearnBatch


class DescentModule(TrainingModule):
    """Descends several objectives together, once a subclass says what they see of a batch (:meth:`view`).

    A step takes the cheapest way to its gradient: a single weighted sum when the weights are known beforehand, else a
    row (or a sketch) per objective, their Gramian, and the combiner's weights. For the arguments, see
    :class:`~unlearn_pl.modules.UnlearningModule`.
    """

    def __init__(
        self,
        model: CausalLM | str | nn.Module,
        objectives: dict[str, Objective],
        combiner: Combiner,
        mask: Mask | None,
        gradient: GradientSource | None,
        optimizer: OptimizerCallable | None,
        schedule: Schedule | None,
        gradient_clip_val: float | None,
        accumulate_grad_batches: int | None,
        on_nonfinite: OnNonFinite,
        max_new_tokens: int,
        scope: Scope,
        metric: Metric,
        rescale: Rescale | None,
        refresh_every: int,
        gramian: GramianKind,
        sketch_size: int,
        row_storage: RowStorage | None,
    ) -> None:
        super().__init__(model, mask, optimizer, schedule, gradient_clip_val, accumulate_grad_batches, max_new_tokens)
        self.objectives = dict(objectives)
        self._objective_modules = nn.ModuleList(objectives.values())  # buffers move and are saved with the module
        self.combiner = combiner
        self.gradient = gradient or FirstOrder()
        self.on_nonfinite = on_nonfinite
        self.scope = scope
        self.metric = metric
        self.rescale = rescale
        self.gramian = gramian
        self.row_storage = row_storage or WholeRows()
        self._refresh = Refresh(refresh_every)
        self._sketch = CountSketch(sketch_size)
        check_options(combiner, self.gradient, on_nonfinite, scope, metric, rescale, refresh_every, gramian)
        check_row_storage(self.row_storage, combiner, self.gradient, metric)
        self._start_counting()

    def _start_counting(self) -> None:
        self.windows_closed = 0
        self.skipped = {"nonfinite": 0, "stationary": 0}
        self._window = Window()
        self._refresh.reset()
        self._blocks: list[int] = []
        self._losses = torch.full([len(self.objectives)], float("nan"), dtype=torch.float64)

    def setup(self, stage: str) -> None:
        """Start counting anew."""
        super().setup(stage)
        if stage == "fit":
            check_scattering(self.row_storage, self.trainer)
            self._start_counting()

    def on_fit_start(self) -> None:
        """Say what is descended, and how."""
        for name, objective in self.objectives.items():
            rank_zero_info(
                f"objective {name!r}: {type(objective).__name__} on {'+'.join(objective.streams)} ({objective.role})"
            )
        rank_zero_info(
            f"combiner: {type(self.combiner).__name__}, {len(self.objectives)} objectives, "
            f"{self.micro_batches_per_step} micro-batches per optimizer step"
        )
        announce_memory(self)

    @property
    def streams_read(self) -> dict[str, tuple[str, ...]]:
        """Objective name to the streams that it reads."""
        return {name: objective.streams for name, objective in self.objectives.items()}

    def training_step(self, batch: UnlearnBatch, batch_idx: int) -> None:
        """Keep the micro-batch; run the window when it is full, or when the epoch ends."""
        self._window.add(batch)
        if len(self._window) == self.micro_batches_per_step or self.trainer.is_last_batch:
            with memory_errors_explained(self):
                self._optimize()
            self._window.clear()

    @abstractmethod
    def view(self, stream: str, batch: TokenBatch) -> StreamView:
        """One forward of one stream, with everything that its objectives need."""

    def on_rows(self, rows: Mapping[str, Row], weights: Tensor) -> None:
        """Called before the rows are combined, if there are whole ones; passes them to callbacks that observe rows.

        There are none with ``gramian="sketch"``, another ``row_storage`` or a plain sum; with ``refresh_every``, only
        at steps that ask the combiner.

        Args:
            rows: name to gradient row, averaged over the window and all ranks, masked.
            weights: ``[K]`` weights of the raw gradients, averaged over the blocks of ``scope``.
        """
        for callback in self.trainer.callbacks:  # type: ignore[attr-defined]
            if isinstance(callback, RowObserver):
                callback.on_rows(rows, weights, self.trained_parameters)

    def check_optimizer(self, optimizer: Optimizer) -> None:
        """As in :class:`TrainingModule`; refuses an optimizer that does not fit the options or the combiner."""
        super().check_optimizer(optimizer)
        without_rows = self._refresh.every > 1 or self.gramian == "sketch"
        check_optimizer(optimizer, self.combiner, self.metric, without_rows=without_rows)
        check_rows_kept(self.row_storage, optimizer, self.combiner, self.gramian)

    def _optimize(self) -> None:
        replay = self._replay()
        self._met_nonfinite = False
        step = self._descend(replay)
        self.skipped["nonfinite"] += self._met_nonfinite  # once, whether rows, sketches or their sum had it
        if step.weights.any():
            self.optimizers().step()  # type: ignore[union-attr]
            self.lr_schedulers().step()  # type: ignore[union-attr]
        restore(replay.parameters, None)
        self.windows_closed += 1
        self._losses = step.losses
        self._report(step)

    def _descend(self, replay: Replay) -> Step:
        """Leave this step's gradient in ``.grad``."""
        if not self.combiner.uses_gramian and self._dual_optim is None:
            return self._descend_sum(replay, self.combiner(None, self._losses), self._one_block)
        if not self._refresh.due:
            return self._descend_again(replay)
        return self._descend_sketched(replay) if self.gramian == "sketch" else self._descend_rows(replay)

    def _descend_rows(self, replay: Replay) -> Step:
        """Leave the combined rows in ``.grad``, the weights being the combiner's answer to their Gramian."""
        rows = self.gradient.rows(replay)
        geometry = self._geometry()
        parts = replay.sharded or (self.row_storage.scatters and self.trainer.world_size > 1)
        step = self._measure(replay, list(rows.values()), geometry, sharded=parts)
        if self._may_step(step):
            self._weigh(step)
        self._refresh.solved(step, step.length)
        if isinstance(self.row_storage, WholeRows):
            self.on_rows(rows, step.mean_weights)
        self._leave_gradient(replay.parameters, list(rows.values()), step.weights, geometry)
        return step

    def _descend_sketched(self, replay: Replay) -> Step:
        """Leave the weighted sum in ``.grad``, the weights being the combiner's answer to a sketched Gramian."""
        sketches = replay.sketches(self._sketch)
        step = measure_sketches(list(self.objectives), replay.losses, sketches, self.trainer.world_size)
        if self._may_step(step):
            self._weigh(step)
        if step.weights.any():
            taken = self._descend_sum(replay, step.weights[0], self._one_block)
            step.weights = taken.weights
            self._refresh.solved(step, taken.norms.item())
        return step

    def _descend_again(self, replay: Replay) -> Step:
        """Leave the weighted sum in ``.grad``, with the weights of the last step that asked the combiner."""
        assert self._refresh.weights is not None
        step = self._descend_sum(replay, self._refresh.weights, self._geometry(), self._refresh.longest)
        goals_changed = bool(step.losses.isfinite().all()) and self.combiner.observe(step.losses)
        self._refresh.reused(step, goals_changed, self.combiner.satisfied_now)
        return step

    def _descend_sum(self, replay: Replay, weights: Tensor, geometry: Geometry, longest: float = float("inf")) -> Step:
        """Leave the gradient of ``sum_k w_k L_k`` in ``.grad``, shortened to the length ``longest`` if need be."""
        self.gradient.weighted_sum(replay, dict(zip(self.objectives, weights.tolist(), strict=True)))
        row = harvest(replay.parameters)
        step = self._measure(replay, [row], geometry, sharded=replay.sharded)
        length = step.norms.item()
        may_step = self._may_step(step) and bool(step.finite[weights != 0].all())  # a sum has no row to drop
        scale = min(1.0, longest / length if length > 0 else 1.0) if may_step else 0.0
        step.weights = (scale * weights).unsqueeze(0) if scale else torch.zeros(1, len(weights)).double()
        step.gramians = scale**2 * step.gramians if scale else step.gramians  # that of the gradient that is taken
        combine(replay.parameters, [row], [[scale]])
        return step

    @property
    def _one_block(self) -> Geometry:
        return Geometry([0] * len(self.trained_parameters))

    def _geometry(self) -> Geometry:
        """Blocks and metric of this step's Gramian."""
        self._blocks = self._blocks or blocks_of(self.trained_names, self.scope)  # the same in every step of a fit
        if self.metric == "euclidean":
            return Geometry(self._blocks)
        return Geometry(self._blocks, adam_metric(self.optimizers(use_pl_optimizer=False), self.trained_parameters))  # type: ignore[arg-type]

    def _weigh(self, step: Step) -> None:
        """Ask the combiner: once, or once per block of parameters."""
        if not self.combiner.uses_gramian:
            weights = self.combiner(None, self._losses)
        else:
            weights = self.combiner(step.gramians.squeeze(0) if self.scope == "global" else step.gramians, step.losses)
        step.weights = weights.view(len(step.gramians), -1)
        step.stationarity = self.combiner.stationarity
        if self.rescale is not None:
            step.weights = rescale_weights(step.weights, step.gramians, self.combiner.live, self.rescale)
        self.skipped["stationary"] += int(not step.weights.any())
        if not step.weights.isfinite().all():
            self._meet_nonfinite(f"{type(self.combiner).__name__} gave weights that are not finite", step)
            step.weights.zero_()

    def _leave_gradient(
        self, parameters: Sequence[nn.Parameter], rows: Sequence[Row], weights: Tensor, geometry: Geometry
    ) -> None:
        """Leave the combination in ``.grad``; an optimizer with moments per role gets the combination of each role."""
        dual, storage = self._dual_optim, self.row_storage
        if isinstance(self.combiner, RowCombiner):
            merge(parameters, rows, weights[0].tolist(), self.combiner.merge)
        elif dual is None:
            storage.leave(parameters, mix(parameters, rows, weights.tolist(), geometry.blocks))
        else:
            for role in get_args(Role):
                of_role = torch.tensor([objective.role == role for objective in self.objectives.values()])
                storage.leave(parameters, mix(parameters, rows, (weights * of_role).tolist(), geometry.blocks))
                self.clip_gradients(dual, self.gradient_clip_val, "norm")
                dual.take(role, parameters, harvest(parameters))

    @property
    def _dual_optim(self) -> DualOptim | None:
        optimizer = self.optimizers(use_pl_optimizer=False)
        return optimizer if isinstance(optimizer, DualOptim) else None

    def _may_step(self, step: Step) -> bool:
        """Apply ``on_nonfinite``; the answer is the same on all ranks, because ``step`` is."""
        if step.finite.all():
            return True
        bad = [name for name, ok in zip(step.names, step.finite.expand(len(step.names)), strict=True) if not ok]
        self._meet_nonfinite(f"Objectives {bad} have a non-finite loss or gradient", step)
        return self.on_nonfinite == "drop" and bool(step.finite.any())

    def _meet_nonfinite(self, what: str, step: Step) -> None:
        self._met_nonfinite = True
        if self.on_nonfinite == "raise":
            raise RuntimeError(f"{what} at optimizer step {self.windows_closed}; losses {step.losses.tolist()}.")

    def _measure(self, replay: Replay, rows: Sequence[Row], geometry: Geometry, *, sharded: bool) -> Step:
        with torch.autocast(self.device.type, enabled=False):
            return measure(
                list(self.objectives),
                replay.losses,
                rows,
                geometry,
                world_size=self.trainer.world_size,
                sharded=sharded,
            )

    def _replay(self) -> Replay:
        check_streams(self.streams_read, list(self._window.micro_batches[0]))
        counts = self._window.counts(list(self.objectives.values()))
        totals = counts.sum(dim=0)
        if self.trainer.world_size > 1:
            torch.distributed.all_reduce(totals)
        return Replay(
            window=self._window,
            objectives=self.objectives,
            groups=group_streams(self.objectives),
            shares=counts / totals.clamp(min=1),
            parameters=self.trained_parameters,
            view=self.view,
            backward=lambda loss, retain: self.manual_backward(loss, retain_graph=retain),
            no_sync=self.without_sync,
            world_size=self.trainer.world_size,
            clone_gradients=self.gradients_are_views,
            sharded=any(isinstance(p, DTensor) for p in self.trained_parameters),
            mask=self.apply_mask,
            storage=self.row_storage,
            step=self.windows_closed,
            reach_all=self.reach_all if isinstance(self.trainer.strategy, DDPStrategy) else None,
        )

    def _report(self, step: Step) -> None:
        """Log against optimizer steps; Lightning would count micro-batches in manual optimisation."""
        metrics = step.metrics() | {f"train/skipped/{reason}": float(n) for reason, n in self.skipped.items()}
        losses = {key: value for key, value in metrics.items() if key.startswith("train/loss/")}
        self.log_dict(losses, prog_bar=True, logger=False, batch_size=1)
        self.trainer.fit_loop.epoch_loop._batches_that_stepped = self.windows_closed
        if self.windows_closed % self.trainer.log_every_n_steps == 0 or self.windows_closed == 1:  # type: ignore[attr-defined]
            for logger in self.trainer.loggers:
                logger.log_metrics(metrics, step=self.windows_closed)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep the combiner's state; a half-filled window is rewound, so that its examples are seen again."""
        super().on_save_checkpoint(checkpoint)
        checkpoint["unlearn_pl"] = division_of_steps(self) | {
            "windows_closed": self.windows_closed,
            "skipped": dict(self.skipped),
            "combiner": self.combiner.state_dict(),
            "losses": self._losses,
            "refresh": self._refresh.state_dict(),
        }
        rewind_progress(checkpoint.get("loops", {}), len(self._window))

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take up the combiner's state and the position in the data."""
        super().on_load_checkpoint(checkpoint)
        state = checkpoint["unlearn_pl"]
        if self.fitting:
            check_division(state, self)
        self.windows_closed = state["windows_closed"]
        self.skipped = dict(state["skipped"])
        self.combiner.load_state_dict(state["combiner"])
        self._losses = state["losses"]
        self._refresh.load_state_dict(state["refresh"])
