"""Per-objective gradients: windows of micro-batches, gradient rows, their Gramian and their combination."""

from unlearn_pl.gradients.base import GradientSource
from unlearn_pl.gradients.bfloat16_rows import BFloat16Rows
from unlearn_pl.gradients.first_order import FirstOrder
from unlearn_pl.gradients.geometry import Geometry, Metric, Scope, adam_metric, blocks_of, check_adam
from unlearn_pl.gradients.observer import RowObserver
from unlearn_pl.gradients.offloaded_rows import OffloadedRows
from unlearn_pl.gradients.random_smoothing import RandomSmoothing
from unlearn_pl.gradients.replay import Replay
from unlearn_pl.gradients.row_storage import RowStorage
from unlearn_pl.gradients.rows import (
    Row,
    block_gramians,
    combine,
    gramian,
    harvest,
    local,
    merge,
    mix,
    restore,
    shard_of,
)
from unlearn_pl.gradients.scattered_rows import ScatteredRows
from unlearn_pl.gradients.sharpness_aware import SharpnessAware
from unlearn_pl.gradients.sketch import CountSketch
from unlearn_pl.gradients.whole_rows import WholeRows
from unlearn_pl.gradients.window import StreamGroup, Window, group_streams

__all__ = [
    "BFloat16Rows",
    "CountSketch",
    "FirstOrder",
    "Geometry",
    "GradientSource",
    "Metric",
    "OffloadedRows",
    "RandomSmoothing",
    "Replay",
    "Row",
    "RowObserver",
    "RowStorage",
    "ScatteredRows",
    "Scope",
    "SharpnessAware",
    "StreamGroup",
    "WholeRows",
    "Window",
    "adam_metric",
    "block_gramians",
    "blocks_of",
    "check_adam",
    "combine",
    "gramian",
    "group_streams",
    "harvest",
    "local",
    "merge",
    "mix",
    "restore",
    "shard_of",
]
