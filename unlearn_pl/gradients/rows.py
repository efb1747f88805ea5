"""Gradient rows: one objective's gradient as a list of tensors, one per parameter.

The Jacobian ``J = [g_1, ..., g_K]^T`` of the objectives is never built. Its rows are taken out of ``.grad``, their
products fill the Gramian ``G = J J^T [K, K]``, and their combination ``J^T w`` is written back into ``.grad``.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

Row = list[Tensor | None]
"""One gradient per parameter; None where the objective does not reach the parameter."""

DOT_CHUNK = 1 << 20
"""Elements per dot product: short enough that an fp32 sum stays accurate, the sum over chunks is fp64."""


def harvest(parameters: Sequence[nn.Parameter], *, clone: bool = False) -> Row:
    """Take the gradients out of ``.grad``, which is None afterwards.

    Args:
        parameters: the trained parameters.
        clone: copy them, because ``.grad`` is a view of memory that will be written again (DDP's buckets).
    """
    row = [p.grad.clone() if clone and p.grad is not None else p.grad for p in parameters]
    restore(parameters, None)
    return row


def restore(parameters: Sequence[nn.Parameter], row: Row | None) -> None:
    """Put ``row`` (or None) into ``.grad``, so that the next backward adds to it."""
    for i, parameter in enumerate(parameters):
        parameter.grad = None if row is None else row[i]


def gramian(rows: Sequence[Row]) -> Tensor:
    """Products ``g_i . g_j`` of the rows: ``[K, K]`` fp64, on the rows' device.

    Sharded rows give the products of the local shards: sum them over the ranks that hold the shards.
    """
    size = len(rows)
    device = next((g.device for row in rows for g in row if g is not None), torch.device("cpu"))
    total = torch.zeros(size, size, dtype=torch.float64, device=device)
    for gradients in zip(*rows, strict=True):
        total += _gramian_of_parameter([None if g is None else local(g).flatten() for g in gradients], total)
    return total


def _gramian_of_parameter(gradients: Sequence[Tensor | None], like: Tensor) -> Tensor:
    products = torch.zeros_like(like)
    for i, left in enumerate(gradients):
        for j, right in enumerate(gradients[: i + 1]):
            if left is not None and right is not None:
                products[i, j] = products[j, i] = _dot(left, right)
    return products


def _dot(left: Tensor, right: Tensor) -> Tensor:
    chunks = zip(left.split(DOT_CHUNK), right.split(DOT_CHUNK), strict=True)
    return torch.stack([torch.dot(_upcast(a), _upcast(b)).double() for a, b in chunks]).sum()


def _upcast(tensor: Tensor) -> Tensor:
    return tensor if tensor.dtype == torch.float64 else tensor.float()


def combine(parameters: Sequence[nn.Parameter], rows: Sequence[Row], weights: Sequence[float]) -> None:
    """Write ``sum_k w_k g_k`` into ``.grad``; the rows' memory is reused, so they are spent afterwards.

    Rows of weight 0 are left out altogether, so that what is not finite in them goes nowhere.
    """
    restore(parameters, None)
    for row, weight in zip(rows, weights, strict=True):
        if weight == 0:
            continue
        for parameter, gradient in zip(parameters, row, strict=True):
            if gradient is None:
                continue
            if parameter.grad is None:
                parameter.grad = gradient.mul_(weight)
            else:
                parameter.grad.add_(gradient, alpha=weight)


def local(tensor: Tensor) -> Tensor:
    """The shard of ``tensor`` that lives on this rank; the tensor itself when it is not sharded."""
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor
