"""The LightningModule of every method: objectives, a combiner, and what the original model says."""

from collections.abc import Mapping, Sequence
from copy import deepcopy
from typing import Any

from lightning.pytorch.cli import OptimizerCallable
from torch import nn

from unlearn_pl.combiners import Combiner
from unlearn_pl.functional import Rescale
from unlearn_pl.gradients import GradientSource, Metric, RowStorage, Scope
from unlearn_pl.masks import Mask
from unlearn_pl.models import CausalLM, stream_forward
from unlearn_pl.modules.checks import check_layers, check_objectives, check_streams
from unlearn_pl.modules.descent import DescentModule
from unlearn_pl.modules.options import GramianKind, OnNonFinite
from unlearn_pl.modules.reference_context import reference_context, stream_needs
from unlearn_pl.objectives import Objective
from unlearn_pl.optim import Schedule
from unlearn_pl.references import Reference
from unlearn_pl.types import StreamView, TokenBatch


class UnlearningModule(DescentModule):
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
        scope: whether the combiner is asked once for all weights (``global``), for every transformer layer by itself
            (``group``), or for every parameter (``tensor``).
        metric: inner product of the gradients: ``euclidean``, or ``adam``, that in which Adam takes its steps (its
            second moments of the step before).
        rescale: length of the combined gradient: that of the mean of the live gradients (``mean_gradient``), the mean
            of their lengths (``mean_norm``), or what the combiner gives (None).
        refresh_every: ask the combiner at every m-th step only, and reuse its weights for a single weighted sum in
            between, at most as long as the last step that it was asked for. It is asked early when a loss has changed
            by more than a factor of 2, or an objective has reached or lost its goal.
        gramian: ``exact``, from gradient rows that are kept, or ``sketch``: from seeded sketches of the gradients,
            which are then computed again as one weighted sum. That needs the memory (and under DDP the communication)
            of a plain sum, but the window is run twice.
        sketch_size: numbers per sketch; the error of a cosine is about ``1 / sqrt(sketch_size)``.
        row_storage: how gradient rows wait for each other: as they are
            (:class:`~unlearn_pl.gradients.WholeRows`, the default), in bfloat16
            (:class:`~unlearn_pl.gradients.BFloat16Rows`), on the host (:class:`~unlearn_pl.gradients.OffloadedRows`),
            or spread over the ranks of DDP (:class:`~unlearn_pl.gradients.ScatteredRows`).

    Raises:
        ValueError: when there is no objective, when an objective needs a reference and there is none, when the
            combiner does not fit the objectives, when an option is unknown, or does not fit the combiner.
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
        scope: Scope = "global",
        metric: Metric = "euclidean",
        rescale: Rescale | None = None,
        refresh_every: int = 1,
        gramian: GramianKind = "exact",
        sketch_size: int = 16_384,
        row_storage: RowStorage | None = None,
    ) -> None:
        super().__init__(
            model,
            objectives,
            combiner,
            mask=mask,
            gradient=gradient,
            optimizer=optimizer,
            schedule=schedule,
            gradient_clip_val=gradient_clip_val,
            accumulate_grad_batches=accumulate_grad_batches,
            on_nonfinite=on_nonfinite,
            max_new_tokens=max_new_tokens,
            scope=scope,
            metric=metric,
            rescale=rescale,
            refresh_every=refresh_every,
            gramian=gramian,
            sketch_size=sketch_size,
            row_storage=row_storage,
        )
        self.reference = reference
        self._reference_is_ready = False
        self._original: list[nn.Module] = []  # a list, so that it is no submodule: neither trained nor saved
        check_objectives(self.objectives, reference)
        self._setup_combiner()

    def _setup_combiner(self) -> None:
        objectives = self.objectives.values()
        original = self.reference is not None and self.reference.is_original
        self.combiner.setup(
            list(self.objectives),
            [o.role for o in objectives],
            [o.zero_at_reference and original for o in objectives],
        )

    def setup(self, stage: str) -> None:
        """Start anew, and check that the data fits the objectives."""
        super().setup(stage)
        if stage != "fit":
            return
        self._setup_combiner()
        if (streams := getattr(self.datamodule, "streams", None)) is not None:
            check_streams(self.streams_read, streams)

    def streams_to_load(self, available: Sequence[str]) -> list[str]:
        """The training streams that the objectives read, for data modules that were not told which to load.

        Args:
            available: streams that the data has.

        Raises:
            ValueError: if an objective reads a stream that the data does not have.
        """
        check_streams(self.streams_read, available)
        return list(dict.fromkeys(stream for streams in self.streams_read.values() for stream in streams))

    def configure_model(self) -> None:
        """Make the model, and prepare the reference from the original weights before a checkpoint is restored."""
        self._keep_original()
        is_new = self.model is None
        super().configure_model()
        assert self.model is not None
        check_layers({name: objective.needs for name, objective in self.objectives.items()}, self.model)
        if self.fitting and self.reference is not None and not self._reference_is_ready:
            is_original = is_new or (self.spec is None and not self._original)
            objectives = self.objectives.values()
            self.reference.prepare(
                reference_context(self, objectives, lambda: self._shard(self._original_model()), is_original)
            )
            self._reference_is_ready = True
            self._original.clear()

    def _keep_original(self) -> None:
        """Copy a live model while its weights are the original ones: ``load_from_checkpoint`` changes them next."""
        loading = self._trainer is None
        if self._reference_is_ready or self._original or not (self.fitting or loading):
            return
        if self.spec is not None or self.model is None or self.reference is None:
            return
        if self.reference.copies_model and (loading or not self.reference.borrows_model):
            self._original.append(deepcopy(self.model))

    def _original_model(self) -> nn.Module:
        return self._original[0] if self._original else self._built()

    def view(self, stream: str, batch: TokenBatch) -> StreamView:
        """One forward of one stream, with everything that its objectives need."""
        assert self.model is not None
        needs = stream_needs(self.objectives.values())[stream]
        reference: Mapping[str, Any] = {}
        if self.reference is not None and any(need.startswith("ref_") for need in needs):
            reference = self.reference.annotate(stream, batch, needs, self.model)
        view = stream_forward(self.model, batch, needs)
        for field, value in reference.items():
            setattr(view, field, value)
        if self.reference is not None:
            self.reference.complete(stream, batch, needs, view)
        return view
