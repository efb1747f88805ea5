"""Noise in the weights of a whole model: the first part of UNDO."""

import hashlib
import math

import torch
from torch import Tensor

from unlearn_pl.models.arithmetic.combine import Rule


def noised(share: float, scale: float = 0.1, seed: int = 0) -> Rule:
    """``(1 - share) theta + share * scale * N``: weights shrink, and matrices get noise as if drawn anew.

    ``N`` is uniform in ``[-a, a]`` for matrices, with ``a = sqrt(6 / (rows + columns))`` as in Xavier's initialization,
    and 0 for vectors, such as norms and biases. It depends on the seed and the name of the weight alone.

    Args:
        share: how much of the weights is lost, in (0, 1].
        scale: size of the noise relative to Xavier's initialization.
        seed: random seed.

    Raises:
        ValueError: if ``share`` is out of range, or ``scale`` negative or not finite.

    References:
        Lee et al., Distillation Robustifies Unlearning (UNDO), arXiv 2506.06278.
    """
    if not 0 < share <= 1:
        raise ValueError(f"share={share}; accepted: a share of the weights in (0, 1].")
    if not 0 <= scale < math.inf:
        raise ValueError(f"scale={scale}; accepted: a finite number that is not negative.")

    def rule(name: str, before: Tensor, after: Tensor) -> Tensor:
        precise = torch.promote_types(before.dtype, torch.float32)
        kept = (1 - share) * before.to(precise)
        return kept + share * scale * _xavier(name, before.shape, seed).to(precise) if before.dim() == 2 else kept

    return rule


def _xavier(name: str, shape: torch.Size, seed: int) -> Tensor:
    """``[rows, columns]`` fp64."""
    digest = hashlib.sha256(f"{seed}/{name}".encode()).digest()
    generator = torch.Generator().manual_seed(int.from_bytes(digest[:8], "little") >> 1)
    bound = math.sqrt(6 / (shape[0] + shape[1]))
    return torch.empty(shape, dtype=torch.float64).uniform_(-bound, bound, generator=generator)
