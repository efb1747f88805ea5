"""A runtime of one process around any view: what a gradient source asks of the place where it runs."""

from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor, nn

from unlearn_pl.gradients import Row
from unlearn_pl.types import Batch, MeanOver, View, Window, count_labels, label_mask


class FakeRuntime:
    """Implements :class:`~unlearn_pl.gradients.Runtime`; every method may be replaced on the instance.

    Args:
        parameters: the trained parameters.
        view: ``(stream name, micro-batch)`` to view, with a graph.
        mask: zeroes, in place, what may not change in a row.
    """

    world_size = 1
    rank = 0
    sharded = False
    clones_gradients = False

    def __init__(
        self,
        parameters: Iterable[nn.Parameter],
        view: Callable[[str, Batch], View],
        mask: Callable[[Row], object] = lambda row: None,
    ) -> None:
        self.parameters = list(parameters)
        self.names = [str(i) for i in range(len(self.parameters))]
        self.optimizer = torch.optim.SGD(self.parameters, lr=0.1)
        self.view = view
        self.mask = mask

    def count(self, batch: Batch, mean_over: MeanOver) -> Tensor:
        return count_labels(label_mask(batch["labels"]), mean_over)

    def backward(self, loss: Tensor, retain_graph: bool) -> None:
        loss.backward(retain_graph=retain_graph)

    def no_sync(self) -> AbstractContextManager[None]:
        return nullcontext()

    def forward_only(self) -> AbstractContextManager[None]:
        return nullcontext()

    def reach_all(self) -> Tensor | None:
        return None

    def clip(self) -> None:
        pass

    def on_rows(self, rows: Mapping[str, Row], weights: Tensor) -> None:
        pass


def by_stream(micro_batches: Iterable[Mapping[str, Batch]]) -> Window:
    """The data of a window, from micro-batches that hold a batch of every stream."""
    window: dict[str, list[Batch]] = {}
    for micro_batch in micro_batches:
        for stream, batch in micro_batch.items():
            window.setdefault(stream, []).append(batch)
    return window
