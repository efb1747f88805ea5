"""Rules that combine the objectives' gradients: a Gramian and the losses in, a weight per gradient out.

Most rules subclass :class:`GramianCombiner`, which drops inactive objectives and normalizes gradients; a rule itself is
the mathematics on a small matrix.
"""

from unlearn_pl.combiners.base import Combiner
from unlearn_pl.combiners.blur import BLUR
from unlearn_pl.combiners.dual_basis import DualBasis
from unlearn_pl.combiners.dual_proj import DualProj
from unlearn_pl.combiners.fedosd import FedOSD
from unlearn_pl.combiners.goal_barrier import GoalBarrier
from unlearn_pl.combiners.graddrop import GradDrop
from unlearn_pl.combiners.gramian_combiner import GramianCombiner
from unlearn_pl.combiners.gru import GRU
from unlearn_pl.combiners.hamu import HAMU
from unlearn_pl.combiners.linear_ramp import LinearRamp
from unlearn_pl.combiners.loss_combiner import LossCombiner
from unlearn_pl.combiners.min_norm import MinNorm
from unlearn_pl.combiners.ngdiff import NGDiff
from unlearn_pl.combiners.options import CombinerOptions
from unlearn_pl.combiners.primal_dual import PrimalDual
from unlearn_pl.combiners.priority_constrained_descent import PriorityConstrainedDescent
from unlearn_pl.combiners.row_combiner import RowCombiner
from unlearn_pl.combiners.sago import SAGO
from unlearn_pl.combiners.scalarization import Scalarization
from unlearn_pl.combiners.torchjd_weighting import TorchJD
from unlearn_pl.combiners.two_block import TwoBlockCombiner
from unlearn_pl.combiners.upgrad import UPGrad

__all__ = [
    "BLUR",
    "GRU",
    "HAMU",
    "SAGO",
    "Combiner",
    "CombinerOptions",
    "DualBasis",
    "DualProj",
    "FedOSD",
    "GoalBarrier",
    "GradDrop",
    "GramianCombiner",
    "LinearRamp",
    "LossCombiner",
    "MinNorm",
    "NGDiff",
    "PrimalDual",
    "PriorityConstrainedDescent",
    "RowCombiner",
    "Scalarization",
    "TorchJD",
    "TwoBlockCombiner",
    "UPGrad",
]
