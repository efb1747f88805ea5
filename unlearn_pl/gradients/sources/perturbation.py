"""Temporarily shifted weights, restored exactly afterwards."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import nn

from unlearn_pl.gradients.rows import Row, local


@contextmanager
def shifted(parameters: Sequence[nn.Parameter], shift: Row, scale: float = 1.0) -> Iterator[None]:
    """Within the context the weights are ``theta + scale * shift``; afterwards they are ``theta``, bit by bit.

    Costs a copy of the weights.

    Args:
        parameters: ``theta``, whole or sharded.
        shift: one tensor per parameter, sharded like it; None for a parameter that stays.
        scale: factor of the shift.
    """
    original = [local(p.detach()).clone() for p in parameters]
    try:
        with torch.no_grad():
            for parameter, change in zip(parameters, shift, strict=True):
                if change is not None:
                    local(parameter).add_(local(change).to(parameter.dtype), alpha=scale)
        torch.clear_autocast_cache()  # it holds casts of the weights before the shift
        yield
    finally:
        with torch.no_grad():
            for parameter, values in zip(parameters, original, strict=True):
                local(parameter).copy_(values)
        torch.clear_autocast_cache()
