"""What ``configure_optimizers`` may return, also where a subclass overrides it."""

import math
from collections.abc import Mapping
from typing import Any

from lightning.pytorch.utilities import rank_zero_warn
from lightning.pytorch.utilities.model_helpers import is_overridden
from lightning.pytorch.utilities.types import LRSchedulerConfig, OptimizerLRScheduler
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

from unlearn_pl.modules.fitted import FittedModule
from unlearn_pl.modules.fitting.momentum import warn_of_momentum
from unlearn_pl.modules.lightning_internals import parsed_optimizers
from unlearn_pl.modules.num_steps import num_steps, steps_shown
from unlearn_pl.modules.safety.optimizer_class import made_optimizer
from unlearn_pl.modules.safety.scheduler_class import made_scheduler
from unlearn_pl.optim import Schedule, mask_weight_decay
from unlearn_pl.optim.schedules import StepwiseLR

_ACCEPTED = (
    "Accepted: one optimizer of weights of self.model (groups of weights may have arguments of their own), with any "
    'number of schedulers, as in {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": '
    '"epoch"}} or [optimizer], [scheduler, ...].'
)


def made_optimization(module: FittedModule) -> OptimizerLRScheduler:
    """The optimizer of the trained parameters, and the schedule over the data module's own number of steps.

    Args:
        module: the module that is fitted, with its model.

    Raises:
        ValueError: if no parameter requires a gradient, or what is given makes no optimizer or no scheduler.
    """
    assert module.model is not None
    trained = [p for p in module.model.parameters() if p.requires_grad]
    if not trained:
        raise ValueError("No parameter requires a gradient, so there is nothing to train. Check the mask.")
    optimizer = made_optimizer(module.optimizer, trained)
    if isinstance(module.schedule, Schedule):
        scheduler: LRScheduler = module.schedule.build(optimizer, *num_steps(module))
    else:
        scheduler = made_scheduler(module.schedule, optimizer)
    if isinstance(scheduler, ReduceLROnPlateau):
        monitor: str = scheduler.monitor  # type: ignore[attr-defined]  # that of Lightning has one
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "monitor": monitor}}
    return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}


def optimization(module: FittedModule, configured: object) -> tuple[Optimizer, list[LRSchedulerConfig]]:
    """The optimizer and the schedulers that ``configure_optimizers`` has returned, made to fit the module.

    Everything that Lightning documents for automatic optimization is understood. A scheduler of a
    :class:`~unlearn_pl.optim.Schedule` counts optimizer steps unless its dictionary says otherwise.

    Args:
        module: the module that is fitted, with its model.
        configured: what the hook has returned.

    Raises:
        ValueError: if there is not exactly one optimizer, it has weights that are not the model's or none that require
            a gradient, it does not support the module's options or cannot exempt masked weights from weight decay, or
            Lightning does not understand what was returned.
    """
    if configured is None:
        raise ValueError(f"configure_optimizers has returned None. {_ACCEPTED}")
    optimizers, schedulers = parsed_optimizers(configured, _with_interval)
    if len(optimizers) != 1:
        raise ValueError(
            f"configure_optimizers has returned {len(optimizers)} optimizers, but all objectives are combined into one "
            f"step. {_ACCEPTED}"
        )
    (optimizer,) = optimizers
    _check_weights(module, optimizer)
    _check_rates(optimizer)
    for config in schedulers:
        _check_scheduler(module, config, optimizer)
    module.descent.check_optimizer(optimizer)
    warn_of_momentum(optimizer, module.descent.goals)
    source = module.descent.gradient
    steps = _steps(module) if len(source.turns) > 1 else None  # a plain loader may not know its length
    for concern in source.concerns(optimizer, steps):
        rank_zero_warn(concern)
    if module.mask is not None and module.mask.element_wise:
        mask_weight_decay(optimizer, module.mask, _names(module))  # type: ignore[arg-type]
    return optimizer, schedulers


def _steps(module: FittedModule) -> int | None:
    """Optimizer steps of the run; None without an end."""
    return None if steps_shown(module) is None else num_steps(module)[1]


def _with_interval(scheduler: object) -> object:
    """Lightning's default is one step per epoch, for which a schedule of this library is not made."""
    given: dict[str, Any] = dict(scheduler) if isinstance(scheduler, Mapping) else {"scheduler": scheduler}
    return {"interval": "step", **given} if isinstance(given.get("scheduler"), StepwiseLR) else scheduler


def _names(module: FittedModule) -> dict[object, str]:
    assert module.model is not None
    return {parameter: name for name, parameter in module.model.named_parameters()}


def _check_weights(module: FittedModule, optimizer: Optimizer) -> None:
    weights = [weight for group in optimizer.param_groups for weight in group["params"]]
    if strange := [list(weight.shape) for weight in weights if weight not in _names(module)]:
        raise ValueError(
            f"{len(strange)} of {len(weights)} weights of the optimizer, of the shapes {strange[:3]}, are not weights "
            f"of the model that is trained. {_ACCEPTED}"
        )
    if not any(weight.requires_grad for weight in weights):
        raise ValueError("No parameter of the optimizer requires a gradient, so there is nothing to train.")


def _check_rates(optimizer: Optimizer) -> None:
    for group in optimizer.param_groups:
        if not math.isfinite(rate := float(group.get("lr", 0.0))):
            raise ValueError(f"The learning rate of {type(optimizer).__name__} is {rate}; accepted: a finite number.")


def _check_scheduler(module: FittedModule, config: LRSchedulerConfig, optimizer: Optimizer) -> None:
    scheduler = config.scheduler
    if not isinstance(scheduler, LRScheduler) and not is_overridden("lr_scheduler_step", module):
        raise ValueError(
            f"configure_optimizers has returned the scheduler {type(scheduler).__name__}, which is no LRScheduler of "
            "PyTorch. Accepted: a subclass of torch.optim.lr_scheduler.LRScheduler; any other with the hook "
            "lr_scheduler_step overridden."
        )
    if getattr(scheduler, "optimizer", optimizer) is not optimizer:
        raise ValueError(
            f"{type(scheduler).__name__} changes the learning rates of another optimizer than the one that "
            f"configure_optimizers has returned with it. {_ACCEPTED}"
        )
    if isinstance(config.frequency, bool) or not isinstance(config.frequency, int) or config.frequency < 1:
        raise ValueError(f"frequency of {type(scheduler).__name__} is {config.frequency!r}; accepted: 1, 2, ...")
