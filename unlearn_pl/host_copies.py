"""Copies on the host of tensors on a device, so that what the host has known all along is not waited for.

A batch is made on the CPU. Positions of its labels, or keys of its examples, need no answer of the GPU then, as long as
the tensors are as they were.
"""

from collections.abc import Callable
from dataclasses import dataclass
from types import NoneType

from torch import Tensor


@dataclass(frozen=True)
class _Known:
    """A tensor that belongs to another one, as both were at some time; copies of the other have none.

    Attributes:
        tensor: what is known.
        versions: count the changes in place, of the other tensor and of this one.
    """

    tensor: Tensor
    versions: tuple[int, int]

    def __reduce__(self) -> tuple[type[None], tuple[()]]:
        return NoneType, ()


def keep_host_copy(tensor: Tensor, copy: Tensor) -> None:
    """From now on ``copy``, on the CPU, stands for ``tensor``, until one of them is changed in place."""
    _keep(tensor, "_host_copy", copy)


def known_host_copy(tensor: Tensor) -> Tensor | None:
    """The copy that is kept of ``tensor``; None if there is none, or it may differ by now."""
    return _kept(tensor, "_host_copy")


def on_host(tensor: Tensor) -> Tensor:
    """``tensor`` on the CPU, without waiting for the device if a copy is kept."""
    known = known_host_copy(tensor)
    return tensor.cpu() if known is None else known


def on_both(function: Callable[..., Tensor], *tensors: Tensor) -> Tensor:
    """``function(*tensors)``, with a copy on the host if one is kept of all ``tensors``."""
    result = function(*tensors)
    copies = [copy for tensor in tensors if (copy := known_host_copy(tensor)) is not None]
    if len(copies) == len(tensors):
        keep_host_copy(result, function(*copies))
    return result


def true_positions(mask: Tensor) -> Tensor:
    """``mask.nonzero()``, ``[N, dims]``, searched for once, and on the host if a copy of ``mask`` is kept."""
    known = _kept(mask, "_true_positions")
    if known is None:
        copy = known_host_copy(mask)
        known = mask.nonzero() if copy is None else copy.nonzero().to(mask.device, non_blocking=True)
        _keep(mask, "_true_positions", known)
    return known


def _keep(tensor: Tensor, name: str, known: Tensor) -> None:
    if not tensor.is_inference() and not known.is_inference():  # PyTorch does not count the changes of these
        setattr(tensor, name, _Known(known, (tensor._version, known._version)))


def _kept(tensor: Tensor, name: str) -> Tensor | None:
    known: _Known | None = getattr(tensor, name, None)
    if known is None or known.versions != (tensor._version, known.tensor._version):
        return None
    return known.tensor
