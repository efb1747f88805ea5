"""What a module says about a run before it begins."""

from lightning.pytorch.utilities import rank_zero_info

from unlearn_pl.modules.fitted import FittedModule
from unlearn_pl.modules.fitting.memory import announce_memory


def announce(module: FittedModule) -> None:
    """Log the objectives, their streams and roles, what combines their gradients, and the memory estimate."""
    for name, objective in module.objectives.items():
        rank_zero_info(
            f"objective {name!r}: {type(objective).__name__} on {'+'.join(objective.streams)} ({objective.role})"
        )
    rank_zero_info(
        f"combiner: {type(module.descent.combiner).__name__}, {len(module.objectives)} objectives, "
        f"{module.micro_batches_per_step} micro-batches per optimizer step"
    )
    announce_memory(module)
