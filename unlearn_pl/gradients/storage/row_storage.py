"""Base class of storage for gradient rows until every objective's row is available."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import nn

from unlearn_pl.gradients.rows import Row, restore
from unlearn_pl.recording import Recorded


class RowStorage(Recorded, ABC):
    """Keeps rows after their last backward pass, and turns their combination into ``.grad``.

    Attributes:
        scatters: rows are reduced over ranks here instead of by the backward pass, and each rank keeps a part of them;
            the products of the parts add up.
    """

    scatters: ClassVar[bool] = False

    @abstractmethod
    def keep(self, row: Row, *, last: bool) -> Row:
        """The kept form of a row.

        Args:
            row: one gradient per parameter, masked.
            last: no other row remains to be computed.
        """

    def share(self, element_size: int, place: torch.device, world_size: int) -> float:
        """Memory of a kept row on the device, as a fraction of a whole gradient.

        Args:
            element_size: bytes per element of a gradient.
            place: device of the training.
            world_size: number of ranks.
        """
        return 1.0

    def wait(self) -> None:
        """Called before kept rows are read."""

    def leave(self, parameters: Sequence[nn.Parameter], combined: Row) -> None:
        """Leave the combination of kept rows in ``.grad``."""
        restore(parameters, combined)
