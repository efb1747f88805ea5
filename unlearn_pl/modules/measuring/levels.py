"""Levels that goals refer to, measured once before the first optimizer step."""

from collections.abc import Sequence

import torch
from torch import Tensor

from unlearn_pl.models.modes import evaluation_mode
from unlearn_pl.models.sharding import reshard
from unlearn_pl.modules.fitted import FittedModule
from unlearn_pl.objectives import Objective
from unlearn_pl.types import AnswerView, Batch

LEVEL_EXAMPLES = 128
"""Examples that a level is the mean of: few enough to take no time, enough for a standard error of about .03."""


def begin_at_levels(module: FittedModule) -> None:
    """Measure what the goals of ``module`` refer to, unless it has none, or has taken steps already.

    Raises:
        ValueError: if a level is missing or too low to be of use, or a floor does not hold at the start.
    """
    descent = module.descent
    if descent.goals and descent.windows_closed == 0:
        descent.begin(start_levels(module), holdout_level(module) if descent.goals.needs_holdout else None)


def start_levels(module: FittedModule) -> dict[str, float]:
    """Name of an objective with a goal to the probability of its answers; without those that cannot be measured."""
    data = module.stream_data
    if data is None:
        return {}
    levels: dict[str, float] = {}
    for name, objective in module.objectives.items():
        stream = objective.progress_stream
        if name in module.descent.goals.goals and _is_probability(objective) and stream in data.streams:
            level = mean_probability(module, data.sample(stream, LEVEL_EXAMPLES))
            levels |= {} if level is None else {name: level}
    return levels


def holdout_level(module: FittedModule) -> float | None:
    """The probability of the answers of the holdout set; None if the data has no such set.

    Raises:
        ValueError: if the set cannot be read, such as a file that is not in the user's folder.
    """
    data = module.stream_data
    if data is None or (name := data.holdout_set) is None:
        return None
    try:
        batches = data.sample(name, LEVEL_EXAMPLES)
    except (ValueError, OSError) as error:
        raise ValueError(
            f"The level 'holdout' of the goals needs the set {name!r} of the data, which cannot be read: {error} "
            "Accepted without it: a number, such as AtMost(0.1), or a share of the start, such as AtMost(share=0.1)."
        ) from error
    return mean_probability(module, batches)


@torch.no_grad()
def mean_probability(module: FittedModule, batches: Sequence[Batch]) -> float | None:
    """Mean probability of the answers in ``batches`` under the module's model, over all ranks.

    Every rank calls it with the same batches, and runs a part of them. Under FSDP2 a forward is a collective operation,
    so ranks that run out of batches repeat one, which does not count.

    Returns:
        None if the model's view has no probabilities, or there are no batches.
    """
    if not batches:
        return None
    trainer, model = module.trainer, module.model
    assert model is not None
    total = torch.zeros(2, dtype=torch.float64, device=trainer.strategy.root_device)
    with evaluation_mode(model):
        for first in range(0, len(batches), trainer.world_size):
            mine = first + trainer.global_rank
            probability = _total_probability(module, batches[min(mine, len(batches) - 1)])
            if probability is None:
                return None
            total += probability * (mine < len(batches))
    reshard(model)
    if trainer.world_size > 1:
        torch.distributed.all_reduce(total)
    return (total[0] / total[1].clamp(min=1)).item()


def _total_probability(module: FittedModule, batch: Batch) -> Tensor | None:
    """``[2]``: sum of the probabilities, number of answers."""
    assert module.model is not None
    batch = module.trainer.strategy.batch_to_device(batch)
    with module.trainer.precision_plugin.forward_context():
        view = module.spec.forward(module.model, batch, frozenset())
    if not isinstance(view, AnswerView):
        return None
    count = view.count("sequences")
    return torch.stack([view.probability().double() * count, count])


def _is_probability(objective: Objective) -> bool:
    """Whether the objective's progress is the probability of its answers, and not a subclass's own."""
    return type(objective).progress is Objective.progress
