"""What a callback implements to see the gradient rows of every optimizer step."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence

from torch import Tensor, nn

from unlearn_pl.gradients.rows import Row


class RowObserver(ABC):
    """Mix-in for callbacks: called with the rows before they are combined and after the weights have moved."""

    @abstractmethod
    def on_rows(self, rows: Mapping[str, Row], weights: Tensor, parameters: Sequence[nn.Parameter]) -> None:
        """Look at the rows; copy what must outlive the call, because combining them reuses their memory.

        Args:
            rows: name to gradient row.
            weights: ``[K]`` in the order of ``rows``.
            parameters: the parameters that the rows belong to, not yet updated.
        """
