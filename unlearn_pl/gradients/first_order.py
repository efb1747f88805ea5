"""Plain gradients."""

from unlearn_pl.gradients.base import GradientSource
from unlearn_pl.gradients.replay import Replay
from unlearn_pl.gradients.rows import Row


class FirstOrder(GradientSource):
    """The gradient at the current weights: the window is run once."""

    def rows(self, replay: Replay) -> dict[str, Row]:
        """One row per objective."""
        return replay.rows()
