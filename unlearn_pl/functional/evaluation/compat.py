"""Conventions of other code that differ from ours, selected by name."""

from typing import Literal

import torch
from torch import Tensor

Compat = Literal["openunlearning"] | None
"""Conventions to follow where they differ; None for ours. Each function documents the differences."""


def follows_openunlearning(compat: Compat) -> bool:
    """Whether ``compat`` asks for OpenUnlearning's conventions.

    Raises:
        ValueError: if it is neither ``None`` nor ``"openunlearning"``.
    """
    if compat not in (None, "openunlearning"):
        raise ValueError(f"compat must be None or 'openunlearning', but is {compat!r}.")
    return compat is not None


def without_last(mask: Tensor) -> Tensor:
    """``mask [B, T]`` without the last True entry of every row, ``[B, T]``.

    Example:
        >>> without_last(torch.tensor([[True, True, False], [False, False, True]])).sum(dim=-1)
        tensor([1, 0])
    """
    to_come = torch.cumsum(mask.flip(-1), dim=-1).flip(-1)
    return mask & (to_come > 1)
