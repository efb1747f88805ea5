"""The check of what an optimizer is made by, before it is called with the weights."""

import typing
from collections.abc import Callable

from torch.optim import Optimizer

from unlearn_pl.modules.safety.makers import MakerCheck

_CHECK = MakerCheck(
    "optimizer",
    Optimizer,
    "accepted: a subclass of torch.optim.Optimizer, or a function whose annotation says that it returns one; "
    "arguments as in functools.partial(AdamW, lr=1e-5)",
)


def check_optimizer_path(found: object, path: str) -> None:
    """Check what a configuration names as the optimizer.

    Args:
        found: what is at the import path.
        path: that path.

    Raises:
        ValueError: if it is neither an optimizer class nor a function that is annotated to return an optimizer.
    """
    _CHECK.check_path(found, path)


def check_optimizer_maker(make: object) -> None:
    """Check what is to make the optimizer.

    Raises:
        ValueError: for an optimizer that is made already (its weights are not known to be those that are trained), a
            class that is no optimizer, a function of C code such as ``os.system``, or what cannot be called.
    """
    _CHECK.check_maker(make)


def made_optimizer(make: Callable[..., Optimizer], parameters: list[typing.Any]) -> Optimizer:
    """``make(parameters)``, if that makes an optimizer.

    Args:
        make: a class, a partial of one, or a function of the caller's own.
        parameters: the trained parameters.

    Raises:
        ValueError: before the call, as in :func:`check_optimizer_maker`; after it, for what has returned something
            else.
    """
    _CHECK.check_maker(make)
    optimizer = make(parameters)
    _CHECK.check_made(optimizer)
    return optimizer
