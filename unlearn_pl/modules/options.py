"""The options that every preset passes on to :class:`~unlearn_pl.modules.UnlearningModule`."""

from typing import Literal, TypedDict

from lightning.pytorch.cli import OptimizerCallable

from unlearn_pl.functional import Rescale
from unlearn_pl.gradients import GradientSource, Metric, RowStorage, Scope
from unlearn_pl.masks import Mask
from unlearn_pl.optim import Schedule

OnNonFinite = Literal["skip", "drop", "raise"]
GramianKind = Literal["exact", "sketch"]


class ModuleOptions(TypedDict, total=False):
    """Arguments that have nothing to do with the method itself.

    Attributes:
        mask: which weights may move; all by default.
        gradient: how gradient rows are obtained; plain gradients by default.
        optimizer: called with the trained parameters; AdamW with lr 1e-5 and weight decay 0.01 by default.
        schedule: learning-rate factor per optimizer step; one epoch of linear warm-up and linear decay by default.
        gradient_clip_val: largest norm of the combined gradient; None for no clipping.
        accumulate_grad_batches: micro-batches per optimizer step for data modules that do not say it themselves.
        on_nonfinite: what happens when an objective's loss or gradient is not finite: ``skip`` the step, ``drop``
            the objective from it, or ``raise``.
        max_new_tokens: length of generated answers in tests and predictions.
        scope: what the combiner is asked for at once: all weights (``global``), a transformer layer (``group``), or a
            parameter (``tensor``).
        metric: inner product of the gradients: ``euclidean``, or ``adam``, that in which Adam takes its steps.
        rescale: give the combined gradient the length of the mean of the live gradients (``mean_gradient``), or the
            mean of their lengths (``mean_norm``).
        refresh_every: ask the combiner at every m-th step, and reuse its weights in between.
        gramian: ``exact``, or from a ``sketch`` of the gradients, which are then not kept.
        sketch_size: numbers per sketch.
        row_storage: how gradient rows wait for each other; as they are by default.
    """

    mask: Mask | None
    gradient: GradientSource | None
    optimizer: OptimizerCallable | None
    schedule: Schedule | None
    gradient_clip_val: float | None
    accumulate_grad_batches: int | None
    on_nonfinite: OnNonFinite
    max_new_tokens: int
    scope: Scope
    metric: Metric
    rescale: Rescale | None
    refresh_every: int
    gramian: GramianKind
    sketch_size: int
    row_storage: RowStorage | None
