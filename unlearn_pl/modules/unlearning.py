"""The LightningModule of every method: objectives, a combiner and a reference model."""

from collections.abc import Mapping, Sequence
from copy import deepcopy
from typing import Any

import lightning.pytorch as pl
from lightning.pytorch.cli import LRSchedulerCallable, OptimizerCallable
from lightning.pytorch.trainer.states import TrainerFn
from lightning.pytorch.utilities import rank_zero_info
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn
from torch.optim import Optimizer

from unlearn_pl.combiners import Combiner
from unlearn_pl.engine import Descent, OnNonFinite, check_streams, stream_needs
from unlearn_pl.functional import Rescale
from unlearn_pl.goals import Goal
from unlearn_pl.gradients import GradientSource, Metric, Row, RowObserver, Scope, restore
from unlearn_pl.masks import Mask
from unlearn_pl.models import LiveModel, ModelLike
from unlearn_pl.modules.checks import check_clipping, check_parts, check_resumed, check_scattering, check_trainer
from unlearn_pl.modules.fitting.announcement import announce
from unlearn_pl.modules.fitting.descent_part import DescentPart
from unlearn_pl.modules.fitting.learning_rates import LearningRates
from unlearn_pl.modules.fitting.lightning_callbacks import check_callbacks
from unlearn_pl.modules.fitting.memory import memory_errors_explained
from unlearn_pl.modules.fitting.momentum import default_optimizer
from unlearn_pl.modules.fitting.optimization import made_optimization, optimization
from unlearn_pl.modules.fitting.outputs import lock_checkpoint_folders
from unlearn_pl.modules.fitting.progress import report
from unlearn_pl.modules.fitting.run import Run
from unlearn_pl.modules.lightning_internals import attached_trainer, correct_loop_progress, read_optimizers
from unlearn_pl.modules.lightning_runtime import LightningRuntime
from unlearn_pl.modules.measuring.levels import begin_at_levels
from unlearn_pl.modules.measuring.refreshing import refresh_streams
from unlearn_pl.modules.micro_batches import micro_batches
from unlearn_pl.modules.model_module import ModelModule
from unlearn_pl.modules.reference_context import reference_context
from unlearn_pl.modules.reference_outputs import ReferenceOutputs
from unlearn_pl.objectives import Objective
from unlearn_pl.optim import LinearWarmup, Schedule
from unlearn_pl.references import Reference
from unlearn_pl.types import Batch, Needs, View, Window, parse_needs


class UnlearningModule(ModelModule):
    """Descends several objectives together: a gradient of each, combined at every optimizer step.

    Every method of this library is this class with its objectives, its combiner and its paper's defaults filled in.
    A batch of the Trainer is one optimizer step of this rank: a list of micro-batches per stream. Subclasses may
    override :meth:`view` (what objectives see of a stream) and :meth:`on_rows` (to read or change the rows).

    Args:
        model: name or path of a Hugging Face model, a specification such as :class:`~unlearn_pl.models.CausalLM`, or a
            live model.
        objectives: name to objective; at least one.
        combiner: turns the Gramian of the gradients into weights.
        reference: source of the reference model's outputs; needed by objectives that compare with it. None for none.
        mask: the weights that may change; all by default.
        gradient: source of the gradients; :class:`~unlearn_pl.gradients.FirstOrder` by default.
        optimizer: called with the trained parameters; AdamW with lr 1e-5 and weight decay 0.01 by default.
        schedule: learning-rate factor per optimizer step; :class:`~unlearn_pl.optim.LinearWarmup` by default. Or what
            makes a scheduler of PyTorch, such as ``partial(OneCycleLR, max_lr=..., total_steps=...)``, which is then
            stepped after every optimizer step; Lightning's ``ReduceLROnPlateau``, after every epoch.
        gradient_clip_val: largest norm of the combined gradient; None for no clipping.
        micro_batch_size: examples per forward, for data loaders whose batches are not split yet; None for no split.
        on_nonfinite: ``skip`` the step, ``drop`` the objective from it, or ``raise``, when a loss or a gradient is
            not finite. A non-finite gradient never reaches the optimizer.
        max_new_tokens: length of generated answers in tests and predictions.
        scope: whether the combiner solves once for all weights (``global``), for each transformer layer separately
            (``group``), or for each parameter (``tensor``).
        metric: inner product of the gradients: ``euclidean``, or ``adam``, that of Adam's steps, one step behind.
        rescale: length of the combined gradient: ``mean_gradient``, ``mean_norm``, or the combiner's own (None).
        refresh_every: solve at every m-th step only, and reuse the weights for a single weighted sum in between; see
            :class:`~unlearn_pl.engine.Refresh`.
        goals: name of an objective to how far it is to go; see :class:`~unlearn_pl.goals.Goal`. AdamW then has a beta1
            of 0.5 by default: with 0.9, about ten steps pass before a goal that is reached has effect.

    Raises:
        ValueError: if there is no objective, an objective needs a reference model and there is none, the combiner does
            not support the objectives, or an option is unknown or not supported by the combiner.
    """

    def __init__(
        self,
        model: ModelLike,
        objectives: dict[str, Objective],
        combiner: Combiner,
        reference: Reference | None = None,
        mask: Mask | None = None,
        gradient: GradientSource | None = None,
        optimizer: OptimizerCallable | None = None,
        schedule: Schedule | LRSchedulerCallable | None = None,
        gradient_clip_val: float | None = 1.0,
        micro_batch_size: int | None = None,
        on_nonfinite: OnNonFinite = "skip",
        max_new_tokens: int = 200,
        scope: Scope = "global",
        metric: Metric = "euclidean",
        rescale: Rescale | None = None,
        refresh_every: int = 1,
        goals: dict[str, Goal] | None = None,
    ) -> None:
        super().__init__(model, max_new_tokens)
        check_clipping(gradient_clip_val)
        self.automatic_optimization = False
        self.descent = Descent(
            objectives,
            combiner,
            gradient=gradient,
            on_nonfinite=on_nonfinite,
            scope=scope,
            metric=metric,
            rescale=rescale,
            refresh_every=refresh_every,
            goals=goals,
        )
        self.runtime = LightningRuntime(self)
        self._learning_rates = LearningRates(self)
        self._run = Run(self)
        self.reference_outputs = ReferenceOutputs(self)
        self.reference = reference
        self.mask = mask
        self.optimizer = optimizer or default_optimizer(has_goals=bool(goals))
        self.schedule = schedule or LinearWarmup()
        self.gradient_clip_val = gradient_clip_val
        self.micro_batch_size = micro_batch_size
        self._original: list[nn.Module] = []  # a list, so that it is no submodule: neither trained nor saved
        self._take_parts()
        self._reset_descent()

    # What is descended ------------------------------------------------------------------------------------------------

    # Subclasses may add to them, or replace them, after super().__init__().
    objectives = DescentPart[dict[str, Objective]]("objectives")
    """Name to objective."""
    combiner = DescentPart[Combiner]("combiner")
    """Turns the Gramian of the gradients into weights."""
    gradient = DescentPart[GradientSource]("gradient")
    """Source of the gradients."""
    windows_closed = DescentPart[int]("windows_closed")
    """Optimizer steps so far, skipped ones included."""
    skipped = DescentPart[dict[str, int]]("skipped")
    """How many steps were skipped, by reason: ``nonfinite``, ``stationary``."""

    @property
    def reference(self) -> Reference | None:
        """Source of the reference model's outputs."""
        return self._reference

    @reference.setter
    def reference(self, reference: Reference | None) -> None:
        self._reference = reference
        self._reference_is_ready = False

    @property
    def streams_read(self) -> dict[str, tuple[str, ...]]:
        """Objective name to the streams that it reads."""
        return {name: objective.streams for name, objective in self.objectives.items()}

    def streams_to_load(self, available: Sequence[str]) -> list[str]:
        """The training streams that the objectives read, for data modules without a list of their own.

        Args:
            available: streams that the data has.

        Raises:
            ValueError: if an objective reads a stream that the data does not have.
        """
        check_streams(self.streams_read, available)
        return list(dict.fromkeys(stream for streams in self.streams_read.values() for stream in streams))

    def objective_needs(self) -> Mapping[str, Needs]:
        """Objective name to the fields that it needs of its views."""
        return {name: parse_needs(objective.needs) for name, objective in self.objectives.items()}

    def _take_parts(self) -> None:
        """Check the parts, and take over those that are new."""
        check_parts(self)
        self._objective_modules = nn.ModuleList(self.objectives.values())  # buffers move and are saved with the module
        if self.descent.replaced:
            self._reset_descent()

    def _reset_descent(self) -> None:
        self.descent.setup(self.reference is not None and self.reference.is_original)

    # One optimizer step -----------------------------------------------------------------------------------------------

    def training_step(self, batch: Window | Mapping[str, Batch], batch_idx: int) -> None:
        """One optimizer step: ``batch`` holds, per stream, its micro-batches or a batch to be split into them."""
        self._learning_rates.before_step()
        with memory_errors_explained(self):
            step = self.descent.step(micro_batches(batch, self.micro_batch_size), self.runtime)
            if step.moves:
                self.optimizers().step()  # type: ignore[union-attr]
        self._learning_rates.after_step(step.moves)
        restore(self.trained_parameters, None)
        self._run.soundness.after_step(step)
        self._report(step)

    def view(self, stream: str, batch: Batch) -> View:
        """One forward of one stream, with everything that its objectives need.

        Args:
            stream: name of the stream.
            batch: one of its micro-batches.
        """
        assert self.model is not None
        needs = stream_needs(self.objectives, self.descent.goals.goals)[stream]
        fields = self.reference_outputs.fields(stream, batch, needs)
        view = self.spec.forward(self.model, batch, needs)
        self.reference_outputs.complete(stream, batch, needs, view, fields)
        return view

    def on_rows(self, rows: Mapping[str, Row], weights: Tensor) -> None:
        """Called before whole rows are combined; passes them to callbacks that observe rows.

        There are no whole rows if gradients are sketched or stored in another form, nor in a plain sum; with
        ``refresh_every``, only at steps that solve.

        Args:
            rows: name to gradient row, averaged over the window and all ranks, masked.
            weights: ``[K]`` weights of the raw gradients, averaged over the blocks of ``scope``.
        """
        for callback in self.trainer.callbacks:  # type: ignore[attr-defined]
            if isinstance(callback, RowObserver):
                callback.on_rows(rows, weights, self.trained_parameters)

    def on_train_epoch_end(self) -> None:
        """Step the schedulers that wait for the metrics of the epoch."""
        self._learning_rates.before_step()

    def on_before_optimizer_step(self, optimizer: Optimizer) -> None:
        """Clip the gradient that the optimizer is about to use."""
        self.clip_gradients(optimizer, self.gradient_clip_val, "norm")

    _report = report
    on_train_epoch_start = refresh_streams

    def on_validation_epoch_end(self) -> None:
        """Log the metrics of a validation inside ``fit`` against the optimizer step that has just been taken."""
        if self.fitting and not self.trainer.sanity_checking and not self.trainer.barebones:
            # Lightning's keys: the axis of loggers, and a column that it leaves out where the axis is given.
            axes = {"step": float(self.windows_closed), "epoch": float(self.current_epoch)}
            self.log_dict(axes, batch_size=1)

    # Set-up under a Trainer -------------------------------------------------------------------------------------------

    @property
    def fitting(self) -> bool:
        """True inside ``Trainer.fit``."""
        trainer = attached_trainer(self)
        return trainer is not None and trainer.state.fn == TrainerFn.FITTING

    @property
    def micro_batches_per_step(self) -> int:
        """Micro-batches per device and optimizer step of the data module; 1 without one that provides streams."""
        data = self.stream_data
        return 1 if data is None else data.micro_batches_per_step

    @property
    def trained_parameters(self) -> Sequence[nn.Parameter]:
        """The optimizer's parameters that require a gradient, in its order."""
        return self.runtime.parameters

    @property
    def trained_names(self) -> Sequence[str]:
        """The names of ``trained_parameters``, as ``model.named_parameters()`` gives them."""
        return self.runtime.names

    def configure_callbacks(self) -> list[pl.Callback]:
        """Check the parts and the Trainer's flags: Lightning calls this hook before its own, less helpful, checks."""
        if self.fitting:
            check_parts(self)
            check_trainer(self.trainer)
            check_callbacks(self, self.trainer)
        return super().configure_callbacks()

    def setup(self, stage: str) -> None:
        """Reset the descent, and check that the data module provides every stream the objectives read."""
        if stage != "fit":
            return
        check_scattering(self.gradient, self.trainer)
        check_callbacks(self, self.trainer)  # again, with those of the module's own configure_callbacks
        self._take_parts()
        self._reset_descent()
        self._learning_rates.reset()
        self._run.reset()
        lock_checkpoint_folders(self.trainer)
        if (data := self.stream_data) is not None:
            check_streams(self.streams_read, data.streams)
            _ = data.micro_batches_per_step

    def configure_model(self) -> None:
        """Build the model, freeze what the mask excludes, and prepare the reference before a checkpoint is restored."""
        self._take_parts()
        read_optimizers(self, self._take_optimizers)
        self._keep_original()
        is_new = self.model is None
        super().configure_model()
        assert self.model is not None
        if self.mask is not None:
            self.mask.freeze(self.model)
        if self.fitting and self.reference is not None and not self._reference_is_ready:
            is_original = is_new or (isinstance(self.spec, LiveModel) and not self._original)
            self.reference.prepare(reference_context(self, lambda: self._shard(self._original_model()), is_original))
            self._reference_is_ready = True
            self._original.clear()

    def _keep_original(self) -> None:
        """Copy a live model while its weights are the original ones: ``load_from_checkpoint`` changes them next."""
        loading = attached_trainer(self) is None
        if self._reference_is_ready or self._original or not (self.fitting or loading):
            return
        if not isinstance(self.spec, LiveModel) or self.reference is None:
            return
        if self.reference.copies_model and (loading or not self.reference.borrows_model):
            self._original.append(deepcopy(self.model))  # type: ignore[arg-type]

    def _original_model(self) -> nn.Module:
        return self._original[0] if self._original else self._built()

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """The optimizer of the trained parameters, and its schedule over the data module's own number of steps.

        A subclass may return whatever Lightning documents for one optimizer: the schedulers are stepped accordingly.

        Raises:
            ValueError: if no parameter requires a gradient, or what is given makes no optimizer or no scheduler.
        """
        return made_optimization(self)

    def _take_optimizers(self, configured: object) -> object:
        """Keep what Lightning would drop, and return what it needs."""
        optimizer, schedulers = optimization(self, configured)
        self._learning_rates.configs = schedulers
        self._run.start(optimizer, schedulers)
        kept = ("scheduler", "interval", "frequency", "name")
        return [optimizer], [{key: getattr(config, key) for key in kept} for config in schedulers]

    def on_fit_start(self) -> None:
        """Log the objectives, the combiner and the memory estimate."""
        announce(self)

    def on_train_start(self) -> None:
        """Measure the levels that the goals refer to; draws from the generators, whose states are restored last."""
        begin_at_levels(self)
        self._run.begin()

    def on_validation_model_zero_grad(self) -> None:
        """Called before a validation inside ``fit``, before its loaders draw random numbers."""
        self._run.random.before_validation()
        super().on_validation_model_zero_grad()

    def on_validation_end(self) -> None:
        """Go on with the random numbers of training."""
        self._run.random.after_validation()

    def on_train_end(self) -> None:
        """Check the weights, and log how far each objective with a goal has come."""
        self._run.end()
        if self.descent.goals:
            rank_zero_info(self.descent.goals.summary())

    # Checkpoints ------------------------------------------------------------------------------------------------------

    def check_file(self, checkpoint_path: object) -> None:
        """See :class:`ModelModule`; also raises ``ValueError`` if the optimizer cannot continue from the checkpoint."""
        super().check_file(checkpoint_path)
        self._run.check_file(checkpoint_path, self.fitting)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Save the state of the descent and the mask's fingerprint; of models with adapters, the adapters alone."""
        checkpoint["unlearn_pl"] = self.descent.state_dict()
        checkpoint["unlearn_pl_rates"] = self._learning_rates.state_dict()
        self._run.save(checkpoint)
        checkpoint["unlearn_pl_mask"] = None if self.mask is None else self.mask.fingerprint()
        correct_loop_progress(checkpoint.get("loops", {}))
        if self.spec.saved_parts:
            weights = checkpoint["state_dict"].items()
            kept = {n: v for n, v in weights if self._in_saved_parts(n) or not n.startswith("model.")}
            checkpoint["state_dict"] = kept

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Resume the descent.

        Raises:
            ValueError: if the checkpoint was trained with another mask or without one, on other data, with another
                optimizer, or by a version that counted micro-batches instead of optimizer steps.
        """
        if self.fitting:
            check_resumed(checkpoint, self.mask)
            check_callbacks(self, self.trainer)  # again, for not every one can resume
        self.descent.load_state_dict(checkpoint["unlearn_pl"])
        if self.fitting:
            self._run.resume(checkpoint)
            self._learning_rates.load_state_dict(checkpoint.get("unlearn_pl_rates", {"due": [], "metrics": {}}))
        else:
            self._run.keep(checkpoint)
