"""Functions of next-token distributions in chunks of positions, so that fp32 rows of the vocabulary never accumulate.

For a typical vocabulary, each intermediate result of a softmax takes as much memory as many layers. None of them is
kept here: the backward pass recomputes them, at low cost, from logits that exist anyway.
"""

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from unlearn_pl.host_copies import true_positions

ROWS = 64
"""Positions per chunk; for a typical vocabulary, one fp32 chunk of logits fits in the CPU cache."""

Index = slice | tuple[Tensor, ...]
RowFunction = Callable[..., Tensor]
"""Maps rows ``[n, V]`` of logits, and the same rows of further fields, to values ``[n]`` or derivatives ``[n, V]``."""


def over_scored(
    value: RowFunction, mask: Tensor | None, logits: Tensor, *fields: Tensor, gradient: RowFunction | None = None
) -> Tensor:
    """``value(logits[mask], *(field[mask] for field in fields))`` for a function of each row alone.

    Args:
        value: function of each row, ``[n, V], ... -> [n]``.
        mask: ``[...]`` True for the N rows that are read; None for all rows of ``logits [N, V]``.
        logits: ``[..., V]``; the gradient flows to them alone.
        fields: ``[...]`` or ``[..., V]``, such as labels or the reference model's logits.
        gradient: derivative of each value with respect to the logits of its row, ``[n, V], ... -> [n, V]``; None for
            autograd.

    Returns:
        ``[N]``; differentiable once.

    Raises:
        ValueError: if a field requires a gradient, or the shapes do not match.
    """
    leading = logits.shape[:-1]
    for tensor in fields if mask is None else (mask, *fields):
        if tensor.shape[: len(leading)] != leading:
            raise ValueError(
                f"logits {list(logits.shape)} have rows {list(leading)}, but another argument has the shape "
                f"{list(tensor.shape)}. Logits, labels and mask must refer to the same positions: shift all of them or "
                "none."
            )
    if torch.is_grad_enabled() and any(field.requires_grad for field in fields):
        raise ValueError(
            "A gradient flows to the first logits only, but another argument requires one. "
            "Detach it, or compute it under torch.no_grad()."
        )
    positions = None if mask is None else true_positions(mask)
    values: Tensor = _OverScored.apply(value, gradient or _derivative(value), positions, logits, *fields)
    return values


def row_chunks(mask: Tensor) -> Iterator[tuple[slice, Index]]:
    """The True entries of ``mask [...]`` in chunks: their range among all N, and the index that selects them."""
    positions = true_positions(mask)
    return _chunks(len(positions), positions)


class _OverScored(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, value: RowFunction, gradient: RowFunction, positions: Tensor | None, logits: Tensor, *fields: Tensor
    ) -> Tensor:
        ctx.gradient = gradient
        ctx.save_for_backward(positions, logits, *fields)
        chunks = _chunks(len(logits) if positions is None else len(positions), positions)
        return torch.cat([value(*(field[index] for field in (logits, *fields))) for _, index in chunks])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *outer: Tensor) -> tuple[Tensor | None, ...]:
        positions, *fields = ctx.saved_tensors
        result = torch.empty_like(fields[0]) if positions is None else torch.zeros_like(fields[0])
        for part, index in _chunks(len(outer[0]), positions):
            gradient = ctx.gradient(*(field[index] for field in fields)) * outer[0][part].unsqueeze(-1)
            result[index] = gradient.to(result.dtype)
        return None, None, None, result, *(None for _ in fields[1:])


def _chunks(count: int, positions: Tensor | None) -> Iterator[tuple[slice, Index]]:
    for start in range(0, max(count, 1), ROWS):  # an empty chunk where there are none
        part = slice(start, start + ROWS)
        yield part, part if positions is None else positions[part].unbind(-1)


def _derivative(value: RowFunction) -> RowFunction:
    def derivative(logits: Tensor, *fields: Tensor) -> Tensor:
        with torch.enable_grad():
            row = logits.detach().requires_grad_()
            return torch.autograd.grad(value(row, *fields).sum(), row)[0]

    return derivative
