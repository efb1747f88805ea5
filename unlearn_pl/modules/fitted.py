"""What the parts of an :class:`~unlearn_pl.modules.UnlearningModule` ask of it while it is fitted."""

from collections.abc import Callable, Mapping
from typing import Any, Protocol

import lightning.pytorch as pl
import torch
from lightning.pytorch.cli import LRSchedulerCallable
from torch import Tensor, nn
from torch.optim import Optimizer

from unlearn_pl.engine import Descent
from unlearn_pl.gradients import Row, Runtime
from unlearn_pl.masks import Mask
from unlearn_pl.models import ModelSpec
from unlearn_pl.modules.reference_outputs import ReferenceOutputs
from unlearn_pl.objectives import Objective
from unlearn_pl.optim import Schedule
from unlearn_pl.references import Reference
from unlearn_pl.types import Batch, StreamProvider, View


class FittedModule(Protocol):
    """A LightningModule inside ``Trainer.fit`` that descends objectives."""

    spec: ModelSpec
    model: nn.Module | None
    descent: Descent
    mask: Mask | None
    optimizer: Callable[..., Optimizer]
    schedule: Schedule | LRSchedulerCallable
    gradient_clip_val: float | None

    @property
    def trainer(self) -> pl.Trainer:
        """Runs the module."""

    @property
    def device(self) -> torch.device:
        """Where this process trains."""

    @property
    def runtime(self) -> Runtime:
        """The module as the engine sees it."""

    @property
    def stream_data(self) -> StreamProvider | None:
        """The data module, where it provides streams."""

    @property
    def objectives(self) -> Mapping[str, Objective]:
        """Name to objective."""

    @property
    def reference(self) -> Reference | None:
        """Source of the reference model's outputs."""

    @property
    def reference_outputs(self) -> ReferenceOutputs:
        """Sets what the reference model says on views."""

    @property
    def micro_batches_per_step(self) -> int:
        """Micro-batches per device and optimizer step."""

    @property
    def optimizers(self) -> Callable[..., Any]:
        """Gives the optimizer, by default in Lightning's wrapper."""

    @property
    def manual_backward(self) -> Callable[..., None]:
        """Runs the backward pass of a loss as the strategy does."""

    @property
    def clip_gradients(self) -> Callable[..., None]:
        """Shortens what is in ``.grad``."""

    @property
    def log_dict(self) -> Callable[..., None]:
        """Lightning's method: shows and logs values by name."""

    @property
    def lr_scheduler_step(self) -> Callable[..., None]:
        """Lightning's hook: steps a scheduler, with a metric or None."""

    def view(self, stream: str, batch: Batch) -> View:
        """One forward of one micro-batch of ``stream``."""

    def on_rows(self, rows: Mapping[str, Row], weights: Tensor) -> None:
        """Look at the rows and their weights ``[K]``."""
