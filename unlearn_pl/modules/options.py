"""The options that every preset passes on to :class:`~unlearn_pl.modules.UnlearningModule`."""

from typing import TypedDict

from lightning.pytorch.cli import LRSchedulerCallable, OptimizerCallable

from unlearn_pl.engine import OnNonFinite
from unlearn_pl.functional import Rescale
from unlearn_pl.goals import Goal
from unlearn_pl.gradients import GradientSource, Metric, Scope
from unlearn_pl.masks import Mask
from unlearn_pl.optim import Schedule


class ModuleOptions(TypedDict, total=False):
    """Arguments that are independent of the method.

    Attributes:
        mask: the weights that may change; all by default.
        gradient: source of the gradients and their storage; plain gradients by default.
        optimizer: called with the trained parameters; AdamW with lr 1e-5 and weight decay 0.01 by default.
        schedule: learning-rate factor per optimizer step; one epoch of linear warm-up and linear decay by default. Or
            what makes a scheduler of PyTorch, such as ``partial(OneCycleLR, max_lr=..., total_steps=...)``.
        gradient_clip_val: largest norm of the combined gradient; None for no clipping.
        micro_batch_size: examples per forward, for data loaders whose batches are not split yet.
        on_nonfinite: response to a non-finite loss or gradient of an objective: ``skip`` the step, ``drop`` the
            objective from it, or ``raise``.
        max_new_tokens: length of generated answers in tests and predictions.
        scope: what the combiner solves for at a time: all weights (``global``), a transformer layer (``group``), or a
            parameter (``tensor``).
        metric: inner product of the gradients: ``euclidean``, or ``adam``, the metric of Adam's steps.
        rescale: give the combined gradient the length of the mean of the active gradients (``mean_gradient``), or the
            mean of their lengths (``mean_norm``).
        refresh_every: solve at every m-th step, and reuse the weights in between.
        goals: name of an objective to how far it is to go: :class:`~unlearn_pl.goals.AtMost` or
            :class:`~unlearn_pl.goals.AtLeast`.
    """

    mask: Mask | None
    gradient: GradientSource | None
    optimizer: OptimizerCallable | None
    schedule: Schedule | LRSchedulerCallable | None
    gradient_clip_val: float | None
    micro_batch_size: int | None
    on_nonfinite: OnNonFinite
    max_new_tokens: int
    scope: Scope
    metric: Metric
    rescale: Rescale | None
    refresh_every: int
    goals: dict[str, Goal] | None
