"""Where a checkpoint is in the data, and on how many devices."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from unlearn_pl.modules.training import TrainingModule


def division_of_steps(module: "TrainingModule") -> dict[str, int]:
    """How an optimizer step is divided: ``devices``, and ``micro_batches_per_step`` on each of them."""
    return {"devices": module.trainer.world_size, "micro_batches_per_step": module.micro_batches_per_step}


def check_division(saved: Mapping[str, Any], module: "TrainingModule") -> None:
    """Refuse to go on when steps are divided otherwise: Lightning counts the position in the data in micro-batches.

    Args:
        saved: what a checkpoint keeps; it passes when it says nothing about the division.
        module: is fitted from it.

    Raises:
        ValueError: naming both divisions.
    """
    now = division_of_steps(module)
    before = {name: saved[name] for name in now if name in saved}
    if before and before != now:
        raise ValueError(
            f"The checkpoint was written on {_words(before)}, and would be resumed on {_words(now)}: its position in "
            f"the data, and with it the examples of every step, would be others. Resume on {before['devices']} "
            "device(s) with the same batch_size and micro_batch_size, or begin a new run from the weights that "
            "SavePretrained exports."
        )


def _words(division: Mapping[str, int]) -> str:
    return f"{division['devices']} device(s) with {division['micro_batches_per_step']} micro-batch(es) per step"
