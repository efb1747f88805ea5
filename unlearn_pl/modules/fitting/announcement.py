"""What a module says about a run before it begins."""

from collections.abc import Mapping

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
    _announce_repeats(module)
    announce_memory(module)


def _announce_repeats(module: FittedModule) -> None:
    """Say which streams have fewer examples than a step draws, so that a step sees some of them several times."""
    order = {} if module.stream_data is None else module.stream_data.order
    size, examples = order.get("batch_size", 0), order.get("examples", {})
    if not isinstance(size, int) or not isinstance(examples, Mapping):
        return
    if few := {name: length for name, length in examples.items() if length < size}:
        told = " and ".join(f"{length} of {name!r}" for name, length in few.items())
        rank_zero_info(
            f"batch_size={size} is more than the {told}: a step sees them more than once. A smaller one costs less."
        )
