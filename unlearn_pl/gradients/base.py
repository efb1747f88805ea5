"""What a gradient source is: how the gradient row of each objective is obtained from a window."""

from abc import ABC, abstractmethod

from unlearn_pl.gradients.replay import Replay
from unlearn_pl.gradients.rows import Row
from unlearn_pl.recording import Recorded


class GradientSource(Recorded, ABC):
    """Turns a window into gradient rows; it may run the window several times, at other weights."""

    @abstractmethod
    def rows(self, replay: Replay) -> dict[str, Row]:
        """One row per objective, averaged over the window and all ranks."""
