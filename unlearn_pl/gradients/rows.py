"""Gradient rows: one objective's gradient as a list of tensors, one per parameter.

The Jacobian ``J = [g_1, ..., g_K]^T`` of the objectives is never built. Its rows are taken out of ``.grad``,
their products fill the Gramian ``G = J J^T [K, K]``, and their combination ``J^T w`` is written back into ``.grad``.
"""

import functools
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

Row = list[Tensor | None]
"""One gradient per parameter, shaped and sharded as it; None where the objective does not reach the parameter."""

DOT_CHUNK = 1 << 20
"""Elements per dot product: few enough for an accurate fp32 sum; the sum over chunks is fp64."""


def harvest(parameters: Sequence[nn.Parameter], *, clone: bool = False) -> Row:
    """Take the gradients out of ``.grad``, which is None afterwards.

    Args:
        parameters: the trained parameters.
        clone: copy them, because ``.grad`` is a view of memory that will be overwritten (DDP's buckets).
    """
    row = [p.grad.clone() if clone and p.grad is not None else p.grad for p in parameters]
    restore(parameters, None)
    return row


def restore(parameters: Sequence[nn.Parameter], row: Row | None) -> None:
    """Put ``row`` (or None) into ``.grad``, so that the next backward pass adds to it."""
    for i, parameter in enumerate(parameters):
        parameter.grad = None if row is None else row[i]


def gramian(rows: Sequence[Row], metric: Row | None = None) -> Tensor:
    """Products ``g_i^T H g_j`` of the rows: ``[K, K]`` fp64, on the rows' device.

    Sharded rows give the products of the local shards: sum them over the ranks that hold the shards.

    Args:
        rows: K gradient rows.
        metric: diagonal of ``H``, one (local) tensor per parameter; None is the identity, for all parameters or one.
    """
    return block_gramians(rows, [0] * len(rows[0]), metric)[0]


def block_gramians(rows: Sequence[Row], blocks: Sequence[int], metric: Row | None = None) -> Tensor:
    """Products ``g_i^T H g_j`` of the rows, per block of parameters: ``[N, K, K]`` fp64, on the rows' device.

    Args:
        rows: K gradient rows.
        blocks: number of the block of each parameter, 0 to N - 1.
        metric: diagonal of ``H``, one (local) tensor per parameter; None is the identity, for all parameters or one.
    """
    size = len(rows)
    device = _device_of(rows)
    total = torch.zeros(max(blocks) + 1, size, size, dtype=torch.float64, device=device)
    for i, gradients in enumerate(zip(*rows, strict=True)):
        flat = [None if g is None else local(g).to(device, non_blocking=True).flatten() for g in gradients]
        scale = None if metric is None else metric[i]
        total[blocks[i]] += _gramian_of_parameter(flat, None if scale is None else scale.flatten(), total[0])
    return total


def reduced_products(
    readings: Tensor,
    rows: Sequence[Row],
    blocks: Sequence[int],
    metric: Row | None = None,
    *,
    world_size: int,
    parts: bool,
) -> tuple[Tensor, Tensor]:
    """The readings ``[K, 3]`` and the products ``[N, R, R]`` of R rows over all ranks; fp64 on the CPU.

    One small collective, and one transfer to the CPU.

    Args:
        readings: ``[K, 3]`` this rank's shares of the mean losses and of the progress.
        rows: R gradient rows, already reduced over ranks.
        blocks: number of the block of each parameter, 0 to N - 1.
        metric: as in :func:`block_gramians`.
        world_size: number of ranks.
        parts: every rank has a part of each row, and the products add up; otherwise all ranks have the same rows.
    """
    device = _device_of(rows)
    with torch.autocast(device.type, enabled=False):  # it would round the products
        local = block_gramians(rows, blocks, metric)
        share = local if parts else local / world_size
        i, j = torch.triu_indices(*local.shape[1:], device=local.device)  # one half of a symmetric matrix
        # Without any row, the products are on the CPU, but the ranks may communicate on an accelerator.
        packed = torch.cat([readings.flatten(), share[:, i, j].flatten().to(readings.device)])
        if world_size > 1:
            torch.distributed.all_reduce(packed)
        packed = packed.cpu()
    gramians, (i, j) = torch.empty_like(local, device="cpu"), torch.triu_indices(*local.shape[1:])
    gramians[:, i, j] = gramians[:, j, i] = packed[readings.numel() :].view(len(local), -1)
    return packed[: readings.numel()].view_as(readings), gramians


def _device_of(rows: Sequence[Row]) -> torch.device:
    """Device of the rows; the accelerator if some of them are kept on the host."""
    devices = {g.device for row in rows for g in row if g is not None}
    return next((device for device in devices if device.type != "cpu"), torch.device("cpu"))


def _gramian_of_parameter(gradients: Sequence[Tensor | None], scale: Tensor | None, like: Tensor) -> Tensor:
    products = torch.zeros_like(like)
    for i, left in enumerate(gradients):
        scaled = left if left is None or scale is None else _upcast(left) * scale
        for j, right in enumerate(gradients[: i + 1]):
            if scaled is not None and right is not None:
                products[i, j] = products[j, i] = _dot(scaled, right)
    return products


def _dot(left: Tensor, right: Tensor) -> Tensor:
    chunks = zip(left.split(DOT_CHUNK), right.split(DOT_CHUNK), strict=True)
    dtype = torch.promote_types(torch.promote_types(left.dtype, right.dtype), torch.float32)
    return torch.stack([torch.dot(a.to(dtype), b.to(dtype)).double() for a, b in chunks]).sum()


def _upcast(tensor: Tensor) -> Tensor:
    return tensor.to(torch.promote_types(tensor.dtype, torch.float32))


def combine(
    parameters: Sequence[nn.Parameter],
    rows: Sequence[Row],
    weights: Sequence[Sequence[float]],
    blocks: Sequence[int] | None = None,
) -> None:
    """Write ``sum_k w_bk g_k`` into ``.grad``; see :func:`mix`."""
    restore(parameters, None)
    restore(parameters, mix(parameters, rows, weights, blocks))


def mix(
    parameters: Sequence[nn.Parameter],
    rows: Sequence[Row],
    weights: Sequence[Sequence[float]],
    blocks: Sequence[int] | None = None,
) -> Row:
    """``sum_k w_bk g_k``; the rows' memory is reused, so that they are invalid afterwards.

    Rows of weight 0 are skipped altogether, so that non-finite values in them have no effect.

    Args:
        parameters: the trained parameters, whose device and dtype the result has.
        rows: K gradient rows, or parts of them.
        weights: ``[N, K]``, a weight per block and row.
        blocks: number of the block of each parameter; all are of block 0 by default.
    """
    mixed: Row = []
    for i, parameter in enumerate(parameters):
        pairs = zip((row[i] for row in rows), weights[0 if blocks is None else blocks[i]], strict=True)
        mixed.append(_weighted_sum(parameter, [(g, w) for g, w in pairs if g is not None and w != 0]))
    return mixed


def _weighted_sum(parameter: nn.Parameter, terms: Sequence[tuple[Tensor, float]]) -> Tensor | None:
    if not terms:
        return None
    # The sum is built in a gradient with its parameter's device and dtype: nothing is rounded and nothing allocated.
    (first, weight), *others = sorted(terms, key=lambda term: not _lives_like(parameter, term[0]))
    total = local(first).to(parameter.device, parameter.dtype)
    if weight != 1:
        total.mul_(weight)
    for gradient, weight in others:
        total.add_(local(gradient).to(parameter.device, non_blocking=True), alpha=weight)
    return shard_of(parameter, total)


def _lives_like(parameter: nn.Parameter, gradient: Tensor) -> bool:
    return gradient.device == parameter.device and gradient.dtype == parameter.dtype


def merge(
    parameters: Sequence[nn.Parameter],
    rows: Sequence[Row],
    weights: Sequence[float],
    rule: Callable[[Sequence[Tensor | None]], Tensor | None],
) -> None:
    """Write ``rule(w_1 g_1, ..., w_K g_K)`` into ``.grad``, parameter by parameter; the rows are invalid afterwards.

    Args:
        parameters: the trained parameters.
        rows: K gradient rows.
        weights: ``[K]``.
        rule: K local gradients ``[...]`` of a parameter to the combined one; None stands for a gradient that does not
            exist or has weight 0.
    """
    restore(parameters, None)
    for parameter, gradients in zip(parameters, zip(*rows, strict=True), strict=True):
        taking_part = [g if weight else None for g, weight in zip(gradients, weights, strict=True)]
        scaled = [None if g is None else local(g).mul_(w) for g, w in zip(taking_part, weights, strict=True)]
        merged = rule(scaled)
        place = next((g for g in scaled if g is not None), None)
        if place is not None and merged is not None:
            if merged is not place:
                place.copy_(merged)
            parameter.grad = next(g for g in taking_part if g is not None)


def sum_rows(rows: Sequence[Row]) -> Row:
    """``sum_k g_k``; where a single row reaches a parameter, the sum is that row's own tensor."""
    total: Row = []
    for gradients in zip(*rows, strict=True):
        reached = [g for g in gradients if g is not None]
        total.append(functools.reduce(torch.add, reached) if reached else None)
    return total


def local(tensor: Tensor) -> Tensor:
    """This rank's shard ``[...]`` of ``tensor [...]``; the tensor itself if it is not sharded."""
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


def shard_of(tensor: Tensor, values: Tensor) -> Tensor:
    """``values [...]`` as this rank's shard of a tensor like ``tensor [...]``; unchanged if that is not sharded."""
    if not isinstance(tensor, DTensor):
        return values
    return DTensor.from_local(
        values, tensor.device_mesh, tensor.placements, run_check=False, shape=tensor.shape, stride=tensor.stride()
    )
