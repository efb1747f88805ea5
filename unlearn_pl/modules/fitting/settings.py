"""What a run is trained with, as plain data that its checkpoints keep."""

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

from lightning.pytorch.utilities.types import LRSchedulerConfig
from torch.optim import Optimizer

from unlearn_pl.modules.fitted import FittedModule
from unlearn_pl.modules.num_steps import num_steps
from unlearn_pl.optim import Schedule
from unlearn_pl.optim.schedules import StepwiseLR
from unlearn_pl.recording import Recorded, class_path, record

_IMPLEMENTATION = ("params", "param_names", "foreach", "fused", "capturable", "differentiable")
"""Entries of an optimizer's groups that decide how it computes, and not what."""


def optimizer_settings(
    optimizer: Optimizer, schedulers: Sequence[LRSchedulerConfig], module: FittedModule
) -> dict[str, Any]:
    """The arguments of an optimizer and its schedulers that have taken no step yet.

    Args:
        optimizer: the optimizer.
        schedulers: its schedulers, which may have changed its learning rates already.
        module: the module that is fitted, with its own schedule.
    """
    groups = []
    for group in optimizer.param_groups:
        arguments = {name: value for name, value in group.items() if name not in _IMPLEMENTATION}
        arguments["lr"] = arguments.pop("initial_lr", arguments.get("lr"))
        groups.append(plain(arguments))
    return {
        "class": class_path(type(optimizer)),
        "groups": groups,
        "schedulers": [_scheduler(config, module) for config in schedulers],
    }


def _scheduler(config: LRSchedulerConfig, module: FittedModule) -> dict[str, Any]:
    scheduler, schedule = config.scheduler, module.schedule
    if isinstance(scheduler, StepwiseLR) and isinstance(schedule, Schedule):
        length = schedule_length(schedule, *num_steps(module))
        made = {"class": class_path(StepwiseLR), "schedule": settled(schedule), "length": length}
    else:
        made = {"class": class_path(type(scheduler)), "arguments": plain(scheduler.state_dict())}
    return {**made, "steps": plain({key: getattr(config, key) for key in ("interval", "frequency", "monitor")})}


def schedule_length(schedule: Schedule, steps_per_epoch: int, total_steps: int) -> dict[str, int]:
    """The lengths of an epoch and of the run, as far as a schedule depends on them.

    Args:
        schedule: of the learning rate.
        steps_per_epoch: optimizer steps of an epoch.
        total_steps: those of the run.
    """
    factors = [
        [schedule.factor(total_steps * part // 8, *lengths) for part in range(8)]
        for lengths in (
            (steps_per_epoch, total_steps),
            (2 * steps_per_epoch, total_steps),
            (steps_per_epoch, 2 * total_steps),
        )
    ]
    given = {"steps_per_epoch": steps_per_epoch, "total_steps": total_steps}
    return {name: value for (name, value), other in zip(given.items(), factors[1:], strict=True) if other != factors[0]}


def data_settings(module: FittedModule) -> dict[str, Any] | None:
    """What decides which examples an optimizer step sees: order, and fingerprints of the streams; None if unknown."""
    data = module.stream_data
    if data is None:
        return None
    streams = dict.fromkeys(stream for objective in module.objectives.values() for stream in objective.streams)
    return {**data.order, "streams": {stream: data.stream_fingerprint(stream) for stream in streams}}


def descent_settings(module: FittedModule) -> dict[str, Any]:
    """The objectives, and what combines their gradients."""
    descent = module.descent
    return {
        "objectives": {name: settled(objective) for name, objective in descent.objectives.items()},
        "combiner": settled(descent.combiner),
        "gradient": settled(descent.gradient),
        "scope": descent.scope,
        "metric": descent.metric,
        "rescale": descent.rescale,
        "refresh_every": descent.refresh.every,
        "on_nonfinite": descent.on_nonfinite,
        "goals": {name: settled(goal) for name, goal in descent.goals.goals.items()},
        "gradient_clip_val": module.gradient_clip_val,
    }


def settled(component: Recorded) -> dict[str, Any]:
    """The record of a component with the defaults of the arguments that were not given."""
    kind = type(component)
    defaults: dict[str, Any] = {}
    for base in reversed(kind.__mro__):  # a class may pass options on to its base, which has their defaults
        if issubclass(base, Recorded) and "__init__" in vars(base):
            given = inspect.signature(vars(base)["__init__"]).parameters.values()
            defaults |= {p.name: p.default for p in given if p.default is not inspect.Parameter.empty}
    return {"class": class_path(kind), **plain({**defaults, **component.recorded_arguments()})}


def plain(values: Mapping[str, Any]) -> dict[str, Any]:
    """``values`` as plain data, without live objects and secrets."""
    return dict(record({name: _number(value) for name, value in values.items()}))


def _number(value: Any) -> Any:
    """Learning rates may be tensors."""
    return value.item() if getattr(value, "numel", lambda: 0)() == 1 else value
