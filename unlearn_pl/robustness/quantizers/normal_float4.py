"""4-bit NormalFloat quantization (NF4)."""

import torch
import torch.nn.functional as F
from torch import Tensor

from unlearn_pl.robustness.quantizers.quantizer import RoundingQuantizer

LEVELS = (
    -1.0, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453, -0.28444138169288635, -0.18477343022823334,
    -0.09105003625154495, 0.0, 0.07958029955625534, 0.16093020141124725, 0.24611230194568634, 0.33791524171829224,
    0.44070982933044434, 0.5626170039176941, 0.7229568362236023, 1.0,
)  # fmt: skip
"""The 16 values of NF4, quantiles of the normal distribution scaled to [-1, 1]."""


class NormalFloat4(RoundingQuantizer):
    """``s * (nearest of 16 levels to w / s)`` with ``s = max|w|`` over blocks of weights: NF4.

    The scales stay in full precision: QLoRA's second quantization, of the scales themselves, is omitted.

    Args:
        block_size: number of weights, in memory order, that share a scale.
        embeddings: round embeddings and the output head as well.

    Raises:
        ValueError: if ``block_size`` is not positive.

    References:
        Dettmers et al., QLoRA: Efficient Finetuning of Quantized LLMs, NeurIPS 2023, arXiv 2305.14314, appendix E.
    """

    def __init__(self, block_size: int = 64, embeddings: bool = False) -> None:
        if block_size < 1:
            raise ValueError(f"block_size={block_size}; accepted is a positive number.")
        self.block_size = block_size
        self.embeddings = embeddings

    @property
    def name(self) -> str:
        """``NF4``, ``NF4, embeddings``."""
        return "NF4, embeddings" if self.embeddings else "NF4"

    def round(self, weight: Tensor) -> Tensor:
        """``[m, n]``, each block rounded by its own scale."""
        levels = torch.tensor(LEVELS, device=weight.device, dtype=weight.dtype)
        filled = F.pad(weight.flatten(), (0, -weight.numel() % self.block_size))  # zeros do not change a maximum
        blocks = filled.view(-1, self.block_size)
        scale = blocks.abs().amax(dim=1, keepdim=True)
        between = (levels[1:] + levels[:-1]) / 2
        rounded = levels[torch.bucketize(blocks / scale.where(scale > 0, 1.0), between)] * scale
        return rounded.flatten()[: weight.numel()].view_as(weight)
