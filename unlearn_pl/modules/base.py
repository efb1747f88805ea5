"""The LightningModule of every method: one gradient row per objective, one combination per optimizer step."""

import functools
import math
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from copy import deepcopy
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.cli import OptimizerCallable
from lightning.pytorch.strategies import DDPStrategy, ParallelStrategy
from lightning.pytorch.trainer.states import TrainerFn
from lightning.pytorch.utilities import rank_zero_info
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn
from torch.distributed.tensor import DTensor
from torch.optim import AdamW, Optimizer

from unlearn_pl.combiners import Combiner
from unlearn_pl.gradients import (
    FirstOrder,
    GradientSource,
    Replay,
    Row,
    RowObserver,
    Window,
    combine,
    group_streams,
    harvest,
    restore,
)
from unlearn_pl.masks import Mask
from unlearn_pl.models import CausalLM, stream_forward
from unlearn_pl.modules.checks import check_context, check_streams, check_trainer
from unlearn_pl.modules.language import LanguageModule
from unlearn_pl.modules.options import OnNonFinite
from unlearn_pl.modules.step import Step, measure
from unlearn_pl.objectives import Objective
from unlearn_pl.optim import LinearWarmup, Schedule
from unlearn_pl.references import Reference
from unlearn_pl.types import StreamView, TokenBatch, UnlearnBatch


class UnlearningModule(LanguageModule):
    """Descends several objectives together: a gradient of each, combined at every optimizer step.

    Every method of this library is this class with its objectives, its combiner and its paper's defaults filled in.
    Subclasses may override :meth:`view` (another kind of model) and :meth:`on_rows` (look at, or change, the rows).

    Args:
        model: name or path of a Hugging Face model, a :class:`~unlearn_pl.models.CausalLM`, or a live model.
        objectives: name to objective; at least one.
        combiner: turns the Gramian of the gradients into weights.
        reference: source of what the original model says; needed by objectives that compare with it.
        mask: which weights may move.
        gradient: how gradient rows are obtained; :class:`~unlearn_pl.gradients.FirstOrder` by default.
        optimizer: called with the trained parameters; AdamW with lr 1e-5 and weight decay 0.01 by default.
        schedule: learning-rate factor per optimizer step; :class:`~unlearn_pl.optim.LinearWarmup` by default.
        gradient_clip_val: largest norm of the combined gradient; None for no clipping.
        accumulate_grad_batches: micro-batches per optimizer step; None to take it from the data module (else 1).
        on_nonfinite: ``skip`` the step, ``drop`` the objective from it, or ``raise``, when a loss or a gradient is
            not finite. A non-finite gradient never reaches the optimizer.
        max_new_tokens: length of generated answers in tests and predictions.

    Raises:
        ValueError: when there is no objective, when an objective needs a reference and there is none, or when
            ``on_nonfinite="drop"`` is asked of a combiner without rows.
    """

    def __init__(
        self,
        model: CausalLM | str | nn.Module,
        objectives: dict[str, Objective],
        combiner: Combiner,
        reference: Reference | None = None,
        mask: Mask | None = None,
        gradient: GradientSource | None = None,
        optimizer: OptimizerCallable | None = None,
        schedule: Schedule | None = None,
        gradient_clip_val: float | None = 1.0,
        accumulate_grad_batches: int | None = None,
        on_nonfinite: OnNonFinite = "skip",
        max_new_tokens: int = 200,
    ) -> None:
        super().__init__(model, max_new_tokens)
        self.automatic_optimization = False
        self.objectives = dict(objectives)
        self._objective_modules = nn.ModuleList(objectives.values())  # buffers move and are saved with the module
        self.combiner = combiner
        self.reference = reference
        self.mask = mask
        self.gradient = gradient or FirstOrder()
        self.optimizer = optimizer or functools.partial(AdamW, lr=1e-5, weight_decay=0.01)
        self.schedule = schedule or LinearWarmup()
        self.gradient_clip_val = gradient_clip_val
        self.accumulate_grad_batches = accumulate_grad_batches
        self.on_nonfinite = on_nonfinite
        self.windows_closed = 0
        self.skipped = {"nonfinite": 0, "stationary": 0}
        self._window = Window()
        self._losses = torch.full([len(objectives)], float("nan"), dtype=torch.float64)
        self._check_components()

    def _check_components(self) -> None:
        if not self.objectives:
            raise ValueError("objectives is empty; at least one objective is needed.")
        needing = [name for name, o in self.objectives.items() if any(n.startswith("ref_") for n in o.needs)]
        if needing and self.reference is None:
            raise ValueError(
                f"Objectives {needing} compare with the original model, but reference is None. "
                "Accepted: FrozenReference() or, with LoRA, AdapterReference()."
            )
        if self.on_nonfinite == "drop" and not self.combiner.uses_gramian:
            raise ValueError(
                f"on_nonfinite='drop' needs a gradient per objective, which {type(self.combiner).__name__} does not "
                "compute. Accepted with it: 'skip', 'raise'."
            )
        self._setup_combiner()

    def _setup_combiner(self) -> None:
        objectives = self.objectives.values()
        original = self.reference is not None and self.reference.is_original
        self.combiner.setup(
            list(self.objectives),
            [o.role for o in objectives],
            [o.zero_at_reference and original for o in objectives],
        )

    # ------------------------------------------------------------------------------------------------ setting up

    def configure_callbacks(self) -> list[pl.Callback]:
        """Check the Trainer's flags: Lightning calls this hook before its own, less helpful, checks."""
        if self.trainer.state.fn == TrainerFn.FITTING:
            check_trainer(self.trainer)
        return []

    def setup(self, stage: str) -> None:
        """Start counting anew and check that the data fits the objectives."""
        if stage != "fit":
            return
        self.windows_closed = 0
        self._window.clear()
        self._setup_combiner()
        streams = getattr(self.trainer.datamodule, "streams", None)
        if streams is not None:
            check_streams({name: o.streams for name, o in self.objectives.items()}, list(streams))
        self.micro_batches_per_step  # noqa: B018  # a fractional number is refused here

    @property
    def micro_batches_per_step(self) -> int:
        """Micro-batches per optimizer step, as the module or the data module says it; 1 when neither does.

        Raises:
            ValueError: when both say it and differ.
        """
        of_data = getattr(self.trainer.datamodule, "micro_batches_per_step", None)
        given = self.accumulate_grad_batches
        if given is not None and of_data is not None and given != of_data:
            raise ValueError(
                f"accumulate_grad_batches={given} on the module contradicts the data module, whose batch_size and "
                f"micro_batch_size give {of_data}. Leave accumulate_grad_batches at None."
            )
        return given or of_data or 1

    def configure_model(self) -> None:
        """Make the model, freeze what the mask excludes, prepare the reference from the original weights."""
        made = self.model is None
        fitting = self._trainer is not None and self.trainer.state.fn == TrainerFn.FITTING
        original = deepcopy(self.model) if fitting and self._reference_copies(self.model) else None
        super().configure_model()
        assert self.model is not None
        if made:
            self.model.train()
        if self.spec is not None and self.spec.lora is not None:
            self.strict_loading = False
        if self.mask is not None:
            self.mask.freeze(self.model)
        if fitting and self.reference is not None:
            self.reference.prepare(lambda: self._shard(self._original(original)), self.model)
        if fitting:
            check_context(self.model, getattr(self.trainer.datamodule, "longest_sequence", 0))

    def _reference_copies(self, live: nn.Module | None) -> bool:
        return live is not None and self.reference is not None and self.reference.copies_model

    def _original(self, copy: nn.Module | None) -> nn.Module:
        if copy is not None:
            return copy
        assert self.spec is not None
        return self.spec.build(self._weights_dtype())

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """The optimizer of the trained parameters, and its schedule over the data module's own number of steps."""
        assert self.model is not None
        trained = [p for p in self.model.parameters() if p.requires_grad]
        if not trained:
            raise ValueError("No parameter requires a gradient, so there is nothing to train. Check the mask.")
        optimizer = self.optimizer(trained)
        return {"optimizer": optimizer, "lr_scheduler": self.schedule.build(optimizer, *self._num_steps())}

    def _num_steps(self) -> tuple[int, int]:
        """Optimizer steps per epoch and in total, as far as the Trainer's limits allow them."""
        trainer, of_data = self.trainer, getattr(self.trainer.datamodule, "steps_per_epoch", None)
        if of_data is None:
            total = math.ceil(trainer.estimated_stepping_batches / self.micro_batches_per_step)
            return max(1, total // max(1, trainer.max_epochs or 1)), total
        batches, limit = of_data * self.micro_batches_per_step, trainer.limit_train_batches
        batches = min(batches, limit) if isinstance(limit, int) else int(batches * limit)
        per_epoch = max(1, math.ceil(batches / self.micro_batches_per_step))
        total = per_epoch * trainer.max_epochs if (trainer.max_epochs or -1) > 0 else math.inf
        total = min(total, trainer.max_steps if trainer.max_steps > 0 else math.inf)
        return per_epoch, per_epoch if math.isinf(total) else int(total)

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

    # ------------------------------------------------------------------------------------------------- the step

    def training_step(self, batch: UnlearnBatch, batch_idx: int) -> None:
        """Keep the micro-batch; run the window when it is full, or when the epoch ends."""
        self._window.add(batch)
        if len(self._window) == self.micro_batches_per_step or self.trainer.is_last_batch:
            self._optimize()
            self._window.clear()

    def view(self, stream: str, batch: TokenBatch) -> StreamView:
        """One forward of one stream, with everything that its objectives need."""
        assert self.model is not None
        needs = frozenset().union(*(o.needs for o in self.objectives.values() if stream in o.streams))
        reference: Mapping[str, Any] = {}
        if self.reference is not None and any(need.startswith("ref_") for need in needs):
            reference = self.reference.annotate(stream, batch, needs, self.model)
        view = stream_forward(self.model, batch, needs)
        for field, value in reference.items():
            setattr(view, field, value)
        return view

    def on_rows(self, rows: Mapping[str, Row], weights: Tensor) -> None:
        """Called before the rows are combined; passes them to callbacks that are row observers.

        Args:
            rows: name to gradient row, averaged over the window and all ranks, masked.
            weights: ``[K]`` weights of the raw gradients.
        """
        for callback in self.trainer.callbacks:  # type: ignore[attr-defined]
            if isinstance(callback, RowObserver):
                callback.on_rows(rows, weights, self._parameters_of_rows)

    def on_before_optimizer_step(self, optimizer: Optimizer) -> None:
        """Clip the combined gradient."""
        self.clip_gradients(optimizer, self.gradient_clip_val, "norm")

    def _optimize(self) -> None:
        replay = self._replay()
        step = self._descend_rows(replay) if self.combiner.uses_gramian else self._descend_sum(replay)
        if step.weights.any():
            self.optimizers().step()  # type: ignore[union-attr]
            self.lr_schedulers().step()  # type: ignore[union-attr, call-arg]
        restore(replay.parameters, None)
        self.windows_closed += 1
        self._losses = step.losses
        self._report(step)

    def _descend_rows(self, replay: Replay) -> Step:
        """Leave ``sum_k w_k g_k`` in ``.grad``, the weights being the combiner's answer to the Gramian."""
        rows = self.gradient.rows(replay)
        for row in rows.values():
            self._mask(row)
        step = self._measure(replay, list(rows.values()))
        if self._may_step(step):
            step.weights = self.combiner(step.gramian, step.losses)
            step.stationarity = self.combiner.stationarity
            self.skipped["stationary"] += int(not step.weights.any())
        self.on_rows(rows, step.weights)
        combine(replay.parameters, list(rows.values()), step.weights.tolist())
        return step

    def _descend_sum(self, replay: Replay) -> Step:
        """Leave the gradient of ``sum_k w_k L_k`` in ``.grad``, the weights being known beforehand."""
        weights = self.combiner(None, self._losses)
        replay.weighted_sum(dict(zip(self.objectives, weights.tolist(), strict=True)))
        row = harvest(replay.parameters)
        self._mask(row)
        step = self._measure(replay, [row])
        step.weights = weights if self._may_step(step) else torch.zeros_like(weights)
        restore(replay.parameters, row)
        return step

    def _may_step(self, step: Step) -> bool:
        """Apply ``on_nonfinite``; the answer is the same on all ranks, because ``step`` is."""
        if step.finite.all():
            return True
        self.skipped["nonfinite"] += 1
        bad = [name for name, ok in zip(step.names, step.finite.expand(len(step.names)), strict=True) if not ok]
        if self.on_nonfinite == "raise":
            raise RuntimeError(
                f"Objectives {bad} have a non-finite loss or gradient at optimizer step {self.windows_closed}; "
                f"losses {step.losses.tolist()}."
            )
        return self.on_nonfinite == "drop" and bool(step.finite.any())

    def _measure(self, replay: Replay, rows: Sequence[Row]) -> Step:
        sharded = any(isinstance(p, DTensor) for p in replay.parameters)
        with torch.autocast(self.device.type, enabled=False):
            return measure(
                list(self.objectives), replay.losses, rows, world_size=self.trainer.world_size, sharded=sharded
            )

    def _mask(self, row: Row) -> None:
        if self.mask is not None:
            self.mask.apply(self._names_of_rows, row)

    def _replay(self) -> Replay:
        check_streams({n: o.streams for n, o in self.objectives.items()}, list(self._window.micro_batches[0]))
        counts = self._window.counts(list(self.objectives.values()))
        totals = counts.sum(dim=0)
        if self.trainer.world_size > 1:
            torch.distributed.all_reduce(totals)
        strategy = self.trainer.strategy
        return Replay(
            window=self._window,
            objectives=self.objectives,
            groups=group_streams(self.objectives),
            shares=counts / totals.clamp(min=1),
            parameters=self._parameters_of_rows,
            view=self.view,
            backward=lambda loss, retain: self.manual_backward(loss, retain_graph=retain),
            no_sync=self._no_sync,
            world_size=self.trainer.world_size,
            clone_gradients=isinstance(strategy, DDPStrategy) and strategy._ddp_kwargs.get("gradient_as_bucket_view"),
        )

    def _no_sync(self) -> AbstractContextManager[None]:
        strategy = self.trainer.strategy
        return strategy.block_backward_sync() if isinstance(strategy, ParallelStrategy) else nullcontext()

    @property
    def _parameters_of_rows(self) -> list[nn.Parameter]:
        """The optimizer's parameters that require a gradient, in its order."""
        groups = self.optimizers().param_groups  # type: ignore[union-attr]
        return [p for group in groups for p in group["params"] if p.requires_grad]

    @property
    def _names_of_rows(self) -> list[str]:
        assert self.model is not None
        names = {parameter: name for name, parameter in self.model.named_parameters()}
        return [names[parameter] for parameter in self._parameters_of_rows]

    def _report(self, step: Step) -> None:
        """Log against optimizer steps; Lightning would count micro-batches in manual optimisation."""
        metrics = step.metrics() | {f"train/skipped/{reason}": float(n) for reason, n in self.skipped.items()}
        losses = {key: value for key, value in metrics.items() if key.startswith("train/loss/")}
        self.log_dict(losses, prog_bar=True, logger=False, batch_size=1)
        self.trainer.fit_loop.epoch_loop._batches_that_stepped = self.windows_closed
        if self.windows_closed % self.trainer.log_every_n_steps == 0 or self.windows_closed == 1:  # type: ignore[attr-defined]
            for logger in self.trainer.loggers:
                logger.log_metrics(metrics, step=self.windows_closed)

    # -------------------------------------------------------------------------------------------- checkpoints

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep the combiner's state; a half-filled window is rewound, so that its examples are seen again."""
        checkpoint["unlearn_pl"] = {
            "windows_closed": self.windows_closed,
            "skipped": dict(self.skipped),
            "combiner": self.combiner.state_dict(),
        }
        self._drop_frozen_weights(checkpoint)
        progress = checkpoint.get("loops", {}).get("fit_loop", {}).get("epoch_loop.batch_progress", {})
        for counts in (progress.get("total", {}), progress.get("current", {})):
            for key in counts:
                counts[key] -= len(self._window)

    def _drop_frozen_weights(self, checkpoint: dict[str, Any]) -> None:
        """With LoRA the base model is reloaded from its name, so only the trained weights are kept."""
        if self.spec is None or self.spec.lora is None or self.model is None:
            return
        frozen = {f"model.{name}" for name, p in self.model.named_parameters() if not p.requires_grad}
        checkpoint["state_dict"] = {k: v for k, v in checkpoint["state_dict"].items() if k not in frozen}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take up the combiner's state and the position in the data."""
        state = checkpoint["unlearn_pl"]
        self.windows_closed = state["windows_closed"]
        self.skipped = dict(state["skipped"])
        self.combiner.load_state_dict(state["combiner"])
