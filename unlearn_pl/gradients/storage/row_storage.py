"""How gradient rows wait until all of them are there."""

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
        scatters: rows are reduced over ranks here rather than by the backward pass, and each rank keeps a part of them,
            whose products add up.
    """

    scatters: ClassVar[bool] = False

    @abstractmethod
    def keep(self, row: Row, *, last: bool) -> Row:
        """What is kept of a row.

        Args:
            row: one gradient per parameter, masked.
            last: no other row has to be computed while this one waits.
        """

    def share(self, element_size: int, place: torch.device, world_size: int) -> float:
        """What a kept row takes on the device, as a part of a whole gradient.

        Args:
            element_size: bytes per element of a gradient.
            place: where training runs.
            world_size: number of ranks.
        """
        return 1.0

    def wait(self) -> None:
        """Called before kept rows are read."""

    def leave(self, parameters: Sequence[nn.Parameter], combined: Row) -> None:
        """Leave the combination of what was kept in ``.grad``."""
        restore(parameters, combined)
