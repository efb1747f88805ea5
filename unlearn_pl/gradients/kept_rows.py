"""Gradients kept as rows, one per objective."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence

from torch import Tensor, nn

from unlearn_pl.gradients.geometry import Geometry
from unlearn_pl.gradients.gradients import Gradients
from unlearn_pl.gradients.rows import Row, mix, reduced_products
from unlearn_pl.gradients.runtime import Runtime
from unlearn_pl.gradients.storage.row_storage import RowStorage
from unlearn_pl.gradients.storage.whole_rows import WholeRows


class KeptRows(Gradients):
    """Rows as a storage keeps them: whole, in bfloat16, on the host, or a part of each on every rank.

    Args:
        readings: ``[K, 3]`` this rank's shares of the mean losses and of the progress.
        rows: name to the kept form of a row, reduced over ranks.
        runtime: parameters and ranks.
        storage: keeps the rows.
    """

    def __init__(self, readings: Tensor, rows: Mapping[str, Row], runtime: Runtime, storage: RowStorage) -> None:
        self._readings = readings
        self._rows = rows
        self._runtime = runtime
        self._storage = storage

    def measure(self, geometry: Geometry) -> tuple[Tensor, Tensor]:
        """See :meth:`Gradients.measure`."""
        runtime = self._runtime
        parts = runtime.sharded or (self._storage.scatters and runtime.world_size > 1)
        rows, ranks = list(self._rows.values()), runtime.world_size
        return reduced_products(self._readings, rows, geometry.blocks, geometry.metric, world_size=ranks, parts=parts)

    def combine(self, weights: Tensor, geometry: Geometry) -> None:
        """See :meth:`Gradients.combine`; the memory of the rows is reused."""
        parameters = self._runtime.parameters
        combined = mix(parameters, list(self._rows.values()), weights.tolist(), geometry.blocks)
        self._storage.leave(parameters, combined)

    def rows(self) -> Mapping[str, Row] | None:
        """The rows, if they are whole."""
        return self._rows if isinstance(self._storage, WholeRows) else None


class RowObserver(ABC):
    """Mix-in for callbacks: called with the rows once per step that has whole ones, before they are combined."""

    @abstractmethod
    def on_rows(self, rows: Mapping[str, Row], weights: Tensor, parameters: Sequence[nn.Parameter]) -> None:
        """Read the rows; copy whatever must outlive the call, because combining them reuses their memory.

        Args:
            rows: name to gradient row.
            weights: ``[K]`` weights of the raw gradients, in the order of ``rows``.
            parameters: the parameters that the rows belong to, not yet updated.
        """
