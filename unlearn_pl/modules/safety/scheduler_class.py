"""The check of what a learning-rate scheduler is made by, before it is called with the optimizer."""

from collections.abc import Callable

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

from unlearn_pl.modules.safety.makers import MakerCheck, parts
from unlearn_pl.optim import Schedule

_CHECK = MakerCheck(
    "schedule",
    LRScheduler,
    "accepted: a Schedule such as LinearWarmup(), a subclass of torch.optim.lr_scheduler.LRScheduler, or a function "
    "whose annotation says that it returns one; arguments as in functools.partial(OneCycleLR, max_lr=1e-5, "
    "total_steps=100)",
)


def check_scheduler_path(found: object, path: str) -> None:
    """Check what a configuration names as the schedule.

    Args:
        found: what is at the import path.
        path: that path.

    Raises:
        ValueError: if it is none of a :class:`~unlearn_pl.optim.Schedule`, a scheduler class of PyTorch, and a function
            that is annotated to return a scheduler.
    """
    if not (isinstance(found, type) and issubclass(found, Schedule)):
        _CHECK.check_path(found, path)


def check_schedule(schedule: object) -> None:
    """Check what is to make the scheduler.

    Args:
        schedule: a :class:`~unlearn_pl.optim.Schedule`, a scheduler class of PyTorch, a partial of one, or a function
            of the caller's own.

    Raises:
        ValueError: for a scheduler that is made already, a class that is no scheduler, a function of C code such as
            ``os.system``, what cannot be called, and PyTorch's ``ReduceLROnPlateau``, which needs the name of a metric.
    """
    if isinstance(schedule, Schedule):
        return
    _CHECK.check_maker(schedule)
    if any(part is ReduceLROnPlateau for part in parts(schedule)):
        raise ValueError(_NEEDS_MONITOR)


def made_scheduler(make: Callable[[Optimizer], LRScheduler], optimizer: Optimizer) -> LRScheduler:
    """``make(optimizer)``, if that makes a scheduler.

    Args:
        make: a class, a partial of one, or a function of the caller's own.
        optimizer: what the scheduler changes the learning rates of.

    Raises:
        ValueError: before the call, as in :func:`check_schedule`; after it, for what has returned something else.
    """
    check_schedule(make)
    scheduler = make(optimizer)
    _CHECK.check_made(scheduler)
    if isinstance(scheduler, ReduceLROnPlateau) and not hasattr(scheduler, "monitor"):
        raise ValueError(_NEEDS_MONITOR)
    return scheduler


_NEEDS_MONITOR = (
    "schedule is PyTorch's ReduceLROnPlateau, which does not say what it watches. Accepted: Lightning's, as in "
    "functools.partial(lightning.pytorch.cli.ReduceLROnPlateau, monitor='val/...')."
)
