"""One optimizer step over several objectives, without a Trainer: :class:`Descent` and what it needs to run."""

from unlearn_pl.engine.checks import OnNonFinite, check_streams
from unlearn_pl.engine.descent import Descent
from unlearn_pl.engine.memory_plan import BackwardPass, MemoryPlan
from unlearn_pl.engine.plan import advice, backward_passes, memory_line, step_plan
from unlearn_pl.engine.refresh import Refresh
from unlearn_pl.engine.runtime import LocalRuntime, stream_needs
from unlearn_pl.engine.step import Step

__all__ = [
    "BackwardPass",
    "Descent",
    "LocalRuntime",
    "MemoryPlan",
    "OnNonFinite",
    "Refresh",
    "Step",
    "advice",
    "backward_passes",
    "check_streams",
    "memory_line",
    "step_plan",
    "stream_needs",
]
