"""Per-objective gradients: windows of micro-batches, gradient rows, their Gramian and their combination."""

from unlearn_pl.gradients.base import GradientSource, RowSource
from unlearn_pl.gradients.geometry import Geometry, Metric, Scope, adam_metric, blocks_of, check_adam, one_block
from unlearn_pl.gradients.gradients import Gradients
from unlearn_pl.gradients.kept_rows import KeptRows, RowObserver
from unlearn_pl.gradients.replay import Replay
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
    sum_rows,
)
from unlearn_pl.gradients.runtime import Runtime
from unlearn_pl.gradients.sketch import CountSketch
from unlearn_pl.gradients.sources.alternating import Alternating
from unlearn_pl.gradients.sources.collapse_irrelevant import CollapseIrrelevant
from unlearn_pl.gradients.sources.first_order import FirstOrder
from unlearn_pl.gradients.sources.perturbation import shifted
from unlearn_pl.gradients.sources.random_smoothing import RandomSmoothing
from unlearn_pl.gradients.sources.role_sums import RoleSums
from unlearn_pl.gradients.sources.sharpness_aware import SharpnessAware
from unlearn_pl.gradients.sources.sketched_rows import SketchedRows
from unlearn_pl.gradients.sources.unlearning_aware import UnlearningAware
from unlearn_pl.gradients.storage.bfloat16_rows import BFloat16Rows
from unlearn_pl.gradients.storage.offloaded_rows import OffloadedRows
from unlearn_pl.gradients.storage.row_storage import RowStorage
from unlearn_pl.gradients.storage.scattered_rows import ScatteredRows
from unlearn_pl.gradients.storage.whole_rows import WholeRows
from unlearn_pl.gradients.summed_gradient import SummedGradient
from unlearn_pl.gradients.window import StreamGroup, Window, group_streams, window_of
from unlearn_pl.gradients.zeroth_order.coordinate_wise import CoordinateWise
from unlearn_pl.gradients.zeroth_order.coordinates import AllCoordinates, CoordinateSet, RandomCoordinates
from unlearn_pl.gradients.zeroth_order.directions import Directions, GaussianDirections, SphereDirections
from unlearn_pl.gradients.zeroth_order.grasp import GraspCoordinates
from unlearn_pl.gradients.zeroth_order.zeroth_order import ZerothOrder

__all__ = [
    "AllCoordinates",
    "Alternating",
    "BFloat16Rows",
    "CollapseIrrelevant",
    "CoordinateSet",
    "CoordinateWise",
    "CountSketch",
    "Directions",
    "FirstOrder",
    "GaussianDirections",
    "Geometry",
    "GradientSource",
    "Gradients",
    "GraspCoordinates",
    "KeptRows",
    "Metric",
    "OffloadedRows",
    "RandomCoordinates",
    "RandomSmoothing",
    "Replay",
    "RoleSums",
    "Row",
    "RowObserver",
    "RowSource",
    "RowStorage",
    "Runtime",
    "ScatteredRows",
    "Scope",
    "SharpnessAware",
    "SketchedRows",
    "SphereDirections",
    "StreamGroup",
    "SummedGradient",
    "UnlearningAware",
    "WholeRows",
    "Window",
    "ZerothOrder",
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
    "one_block",
    "restore",
    "shard_of",
    "shifted",
    "sum_rows",
    "window_of",
]
