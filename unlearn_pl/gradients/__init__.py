"""Per-objective gradients: windows of micro-batches, gradient rows, their Gramian and their combination."""

from unlearn_pl.gradients.base import GradientSource
from unlearn_pl.gradients.first_order import FirstOrder
from unlearn_pl.gradients.observer import RowObserver
from unlearn_pl.gradients.replay import Replay
from unlearn_pl.gradients.rows import Row, combine, gramian, harvest, local, restore
from unlearn_pl.gradients.window import StreamGroup, Window, group_streams

__all__ = [
    "FirstOrder",
    "GradientSource",
    "Replay",
    "Row",
    "RowObserver",
    "StreamGroup",
    "Window",
    "combine",
    "gramian",
    "group_streams",
    "harvest",
    "local",
    "restore",
]
