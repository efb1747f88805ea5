"""The check of what an optimizer is made by, before it is called with the weights."""

import functools
import inspect
import types
import typing
from collections.abc import Callable

from torch.optim import Optimizer

ACCEPTED = "accepted: a subclass of torch.optim.Optimizer, or a function whose annotation says that it returns one"


def check_optimizer_path(found: object, path: str) -> None:
    """Check what a configuration names as the optimizer.

    Args:
        found: what is at the import path.
        path: that path.

    Raises:
        ValueError: if it is neither an optimizer class nor a function that is annotated to return an optimizer.
    """
    if not (_is_optimizer(found) or (inspect.isfunction(found) and _is_optimizer(_returned(found)))):
        raise ValueError(f"optimizer is {path!r}; {ACCEPTED}.")


def made_optimizer(make: Callable[..., Optimizer], parameters: list[typing.Any]) -> Optimizer:
    """``make(parameters)``, if that makes an optimizer.

    Args:
        make: a class, a partial of one, or a function of the caller's own.
        parameters: the trained parameters.

    Raises:
        ValueError: before the call, for a class that is no optimizer or a function of C code such as ``os.system``;
            after it, for what has returned something else.
    """
    for part in _parts(make):
        if isinstance(part, types.BuiltinFunctionType) or (isinstance(part, type) and not _is_optimizer(part)):
            raise ValueError(f"optimizer is {part!r}; {ACCEPTED}.")
    optimizer = make(parameters)
    if not isinstance(optimizer, Optimizer):
        raise ValueError(f"optimizer has made a {type(optimizer).__name__}; {ACCEPTED}.")
    return optimizer


def _parts(make: object) -> list[object]:
    """What a partial calls: its function, and those among its arguments (as jsonargparse makes them)."""
    if not isinstance(make, functools.partial):
        return [make]
    return [*_parts(make.func), *(part for part in make.args if callable(part))]


def _is_optimizer(found: object) -> bool:
    return isinstance(found, type) and issubclass(found, Optimizer)


def _returned(function: Callable[..., object]) -> object:
    try:
        return typing.get_type_hints(function).get("return")
    except (NameError, TypeError):
        return None
