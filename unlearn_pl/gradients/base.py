"""What a gradient source is: how the gradient row of each objective is obtained from a window."""

from abc import ABC, abstractmethod
from collections.abc import Mapping

from unlearn_pl.gradients.replay import Replay
from unlearn_pl.gradients.rows import Row, combine
from unlearn_pl.recording import Recorded


class GradientSource(Recorded, ABC):
    """Turns a window into gradient rows; it may run the window several times, at other weights.

    Attributes:
        copies: of the trained weights, which it holds beside the rows while it runs the window.
    """

    copies: int = 0

    @abstractmethod
    def rows(self, replay: Replay) -> dict[str, Row]:
        """One row per objective, masked, averaged over the window and all ranks."""

    def weighted_sum(self, replay: Replay, weights: Mapping[str, float]) -> None:
        """Leave ``sum_k w_k g_k`` in ``.grad``; sources that can do it without rows override this."""
        rows = self.rows(replay)
        combine(replay.parameters, list(rows.values()), [[weights[name] for name in rows]])
