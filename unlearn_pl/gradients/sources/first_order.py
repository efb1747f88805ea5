"""Gradients at the current weights."""

from collections.abc import Mapping

import torch

from unlearn_pl.gradients.base import RowSource
from unlearn_pl.gradients.replay import Replay
from unlearn_pl.gradients.rows import Row
from unlearn_pl.gradients.runtime import Runtime
from unlearn_pl.gradients.storage.row_storage import RowStorage
from unlearn_pl.gradients.storage.whole_rows import WholeRows
from unlearn_pl.gradients.summed_gradient import SummedGradient
from unlearn_pl.gradients.window import Window


class FirstOrder(RowSource):
    """``g_k = grad L_k(theta)``, kept as a row until all objectives have one: the window is run once.

    Args:
        rows: storage of the rows until all of them are available: unchanged (:class:`~unlearn_pl.gradients.WholeRows`,
            the default), in bfloat16 (:class:`~unlearn_pl.gradients.BFloat16Rows`), on the host
            (:class:`~unlearn_pl.gradients.OffloadedRows`), or scattered over the ranks of DDP
            (:class:`~unlearn_pl.gradients.ScatteredRows`).
    """

    plain = True

    def __init__(self, rows: RowStorage | None = None) -> None:
        self._storage = rows or WholeRows()
        self.whole_rows = isinstance(self._storage, WholeRows)
        self.scatters = self._storage.scatters
        self.every_metric = not self._storage.scatters  # a metric's diagonal is not scattered with the rows

    @property
    def storage(self) -> RowStorage:
        """Keeps rows until all of them are available."""
        return self._storage

    def rows(self, replay: Replay) -> dict[str, Row]:
        """One row per objective."""
        return replay.rows()

    def weighted_sum(self, window: Window, runtime: Runtime, weights: Mapping[str, float]) -> SummedGradient:
        """The gradient of the weighted sum of the losses, accumulated at once: no rows are kept."""
        return plain_sum(window, runtime, weights)

    def row_share(self, element_size: int, place: torch.device, world_size: int) -> float:
        """The share of the storage."""
        return self._storage.share(element_size, place, world_size)


def plain_sum(window: Window, runtime: Runtime, weights: Mapping[str, float]) -> SummedGradient:
    """Leave the gradient of ``sum_k w_k L_k`` in ``.grad``."""
    replay = Replay(window, runtime)
    replay.weighted_sum(weights)
    return SummedGradient(replay.readings, runtime)
