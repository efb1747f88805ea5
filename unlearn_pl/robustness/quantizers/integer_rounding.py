"""Symmetric integer quantization."""

import torch
from torch import Tensor

from unlearn_pl.robustness.quantizers.quantizer import RoundingQuantizer


class IntegerRounding(RoundingQuantizer):
    """``s * clamp(round(w / s), -q, q)`` with ``q = 2^(bits-1) - 1`` and ``s = max|w| / q``: symmetric rounding.

    ``s`` is one number per row of the matrix (output channel), or per ``group_size`` neighbors of a row.

    Args:
        bits: 2 to 8.
        group_size: number of weights that share a scale; None for a whole row. The last group may be smaller.
        embeddings: round embeddings and the output head as well.

    Raises:
        ValueError: if ``bits`` or ``group_size`` is out of range.

    References:
        Dettmers et al., LLM.int8(): 8-bit Matrix Multiplication for Transformers at Scale, NeurIPS 2022,
        arXiv 2208.07339, section 2.1 (absmax, vector-wise). Activations are not rounded.
    """

    def __init__(self, bits: int = 8, group_size: int | None = None, embeddings: bool = False) -> None:
        if not 2 <= bits <= 8:
            raise ValueError(f"bits={bits}; accepted are 2 to 8.")
        if group_size is not None and group_size < 1:
            raise ValueError(f"group_size={group_size}; accepted is a positive number, or None for a whole row.")
        self.bits = bits
        self.group_size = group_size
        self.embeddings = embeddings

    @property
    def name(self) -> str:
        """``int8``, ``int4, groups of 128``, ``int8, embeddings``."""
        groups = "" if self.group_size is None else f", groups of {self.group_size}"
        return f"int{self.bits}{groups}{', embeddings' if self.embeddings else ''}"

    def round(self, weight: Tensor) -> Tensor:
        """``[m, n]``, each group rounded by its own scale."""
        groups = weight.split(self.group_size or weight.shape[1], dim=1)
        return torch.cat([self._round_group(group) for group in groups], dim=1)

    def _round_group(self, group: Tensor) -> Tensor:
        largest = 2 ** (self.bits - 1) - 1
        scale = group.abs().amax(dim=1, keepdim=True) / largest
        # A group of zeros has no scale and stays unchanged.
        return torch.where(scale > 0, (group / scale).round().clamp(-largest, largest) * scale, group)
