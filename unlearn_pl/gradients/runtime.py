"""What computing gradients needs from the place where it runs: a Trainer, or a loop of one's own."""

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
    def parameters(self) -> Sequence[nn.Parameter]:
        """The trained parameters."""

    @property
    def names(self) -> Sequence[str]:
        """Their names."""

    @property
    def optimizer(self) -> Optimizer:
        """Moves them."""

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
        """One forward of one micro-batch of ``stream``, with a graph and all that its objectives need."""

    def count(self, batch: Batch, mean_over: MeanOver) -> Tensor:
        """What a loss over ``batch`` averages over: ``[]`` fp64."""

    def backward(self, loss: Tensor, retain_graph: bool) -> None:
        """Add the gradients of ``loss`` to ``.grad``, averaged over ranks unless inside :meth:`no_sync`."""

    def no_sync(self) -> AbstractContextManager[None]:
        """Context in which gradients stay on their rank."""

    def reach_all(self) -> Tensor | None:
        """0, as a function of all parameters, where the reduction waits for each of them; None elsewhere."""

    def mask(self, row: Row) -> None:
        """Set to zero, in place, what may not change in ``row``."""

    def clip(self) -> None:
        """Shorten what is in ``.grad`` to the longest gradient that is allowed."""

    def on_rows(self, rows: Mapping[str, Row], weights: Tensor) -> None:
        """Called before whole rows are combined, with the weights ``[K]`` of the raw rows."""
