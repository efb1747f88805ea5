"""Protocol of the environment in which gradients are computed: a Trainer or a custom loop."""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Protocol

from torch import Tensor, nn
from torch.optim import Optimizer

from unlearn_pl.gradients.rows import Row
from unlearn_pl.types import Batch, MeanOver, View


class Runtime(Protocol):
    """The model, its optimizer and the other ranks, as one optimizer step sees them."""

    @property
    def model(self) -> nn.Module:
        """The trained model, for sources that look into its layers."""

    @property
    def parameters(self) -> Sequence[nn.Parameter]:
        """The trained parameters."""

    @property
    def names(self) -> Sequence[str]:
        """The names of ``parameters``."""

    @property
    def optimizer(self) -> Optimizer:
        """The optimizer of ``parameters``."""

    @property
    def world_size(self) -> int:
        """Number of ranks that the reduction of gradients averages over."""

    @property
    def rank(self) -> int:
        """Number of this rank."""

    @property
    def sharded(self) -> bool:
        """Whether gradients are shards, whose products add up over ranks."""

    @property
    def clones_gradients(self) -> bool:
        """Whether ``.grad`` is a view of memory that the next backward pass writes again."""

    def view(self, stream: str, batch: Batch) -> View:
        """One forward of one micro-batch of ``stream``, with its graph and every field that its objectives need."""

    def count(self, batch: Batch, mean_over: MeanOver) -> Tensor:
        """What a loss over ``batch`` averages over: ``[]`` fp64."""

    def backward(self, loss: Tensor, retain_graph: bool) -> None:
        """Add the gradients of ``loss []`` to ``.grad``, averaged over ranks unless inside :meth:`no_sync`."""

    def no_sync(self) -> AbstractContextManager[None]:
        """Context in which gradients stay on their rank."""

    def forward_only(self) -> AbstractContextManager[None]:
        """Context of views without backward passes, for sources that run none: the model is in evaluation mode.

        The weights may be moved in between. Outputs of a reference model are computed once per micro-batch.
        """

    def reach_all(self) -> Tensor | None:
        """A zero ``[]`` that depends on every parameter, if the reduction waits for each of them; else None."""

    def mask(self, row: Row) -> None:
        """Set to zero, in place, the elements of ``row`` whose weights must not change."""

    def clip(self) -> None:
        """Clip the gradient in ``.grad`` to the largest norm allowed."""

    def on_rows(self, rows: Mapping[str, Row], weights: Tensor) -> None:
        """Called before whole rows are combined, with the weights ``[K]`` of the raw rows."""
