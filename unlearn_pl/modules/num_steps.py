"""Number of optimizer steps that a Trainer will take."""

from unlearn_pl.modules.fitted import FittedModule
from unlearn_pl.optim import Constant, Schedule


def num_steps(module: FittedModule) -> tuple[int, int]:
    """Optimizer steps per epoch and in total, under the Trainer's limits.

    Raises:
        ValueError: if the run has no end, and the schedule needs one.
    """
    trainer, data = module.trainer, module.stream_data
    if data is None:
        total = int(trainer.estimated_stepping_batches)
        return max(1, total // max(1, trainer.max_epochs or 1)), total
    limit = trainer.limit_train_batches
    steps = min(data.steps_per_epoch, limit) if isinstance(limit, int) else int(data.steps_per_epoch * limit)
    per_epoch = max(1, steps)
    limits = [per_epoch * trainer.max_epochs] if (trainer.max_epochs or -1) > 0 else []  # type: ignore[operator]
    limits += [trainer.max_steps] if trainer.max_steps > 0 else []
    if not limits and isinstance(module.schedule, Schedule) and not isinstance(module.schedule, Constant):
        raise ValueError(
            f"max_epochs={trainer.max_epochs} and max_steps={trainer.max_steps} set no end, which "
            f"{type(module.schedule).__name__} needs. Set one of them, or use the schedule Constant."
        )
    return per_epoch, min(limits, default=per_epoch)


def steps_shown(module: FittedModule) -> int | None:
    """Optimizer steps for which data will be shown; None if the run has no limit."""
    trainer = module.trainer
    if (trainer.max_epochs or -1) < 0 and trainer.max_steps < 0:
        return None
    per_epoch, total = num_steps(module)
    if (trainer.max_epochs or -1) > 0 and total == per_epoch * trainer.max_epochs:  # type: ignore[operator]
        return total
    return total + max(1, total // 10)  # skipped steps show data, but do not count toward max_steps
