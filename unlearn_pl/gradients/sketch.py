"""Sketches, which give inner products of gradients without keeping the gradients."""

import functools

import torch
from torch import Tensor

from unlearn_pl.gradients.rows import Row, local

SIGNS = 1 << 22
"""Number of random signs, drawn once; every block of elements uses a stretch of them with a random start."""


class CountSketch:
    """A seeded linear map ``S`` of a gradient row to ``size`` numbers, with ``E[(S g)^T (S h)] = g^T h``.

    A row is cut into blocks of ``size`` elements; each block gets random signs, is rotated by a random number of
    places, and all are added up. Two elements of different blocks collide with probability ``1 / size``, those of one
    block never, so that the variance of a product is at most ``(|g|^2 |h|^2 + (g^T h)^2) / size``: an error of about
    ``1 / sqrt(size)`` of the cosine. Being linear, sketches of micro-batches, ranks and shards add up.

    Args:
        size: numbers in a sketch.
        seed: random seed of signs and rotations.

    Raises:
        ValueError: if ``size`` is not in 1 to 2^22 - 1, or ``seed`` not in 0 to 2^23 - 1.

    References:
        Charikar, Chen and Farach-Colton, Finding Frequent Items in Data Streams, ICALP 2002.
    """

    def __init__(self, size: int, seed: int = 0) -> None:
        if not 1 <= size < SIGNS:
            raise ValueError(f"The size of a sketch is {size}; accepted: 1 to {SIGNS - 1}.")
        if not 0 <= seed < 1 << 23:
            raise ValueError(f"The seed of a sketch is {seed}; accepted: 0 to {(1 << 23) - 1}.")
        self.size = size
        self.seed = seed

    def __call__(self, row: Row, shard: int = 0) -> Tensor:
        """The sketch ``[size]`` of a row, in the row's precision but fp32 at least.

        Args:
            row: whole gradients, or this rank's shards of them.
            shard: number of the shard: different shards are different elements, and need different signs.
        """
        reached = [g for g in row if g is not None]
        dtype = torch.float64 if any(g.dtype == torch.float64 for g in reached) else torch.float32
        total = torch.zeros(self.size, dtype=dtype, device=reached[0].device if reached else None)
        for i, gradient in enumerate(row):
            if gradient is not None:
                self._add(local(gradient).detach().flatten(), total, (shard << 20) + i)
        return total

    def _add(self, elements: Tensor, total: Tensor, part: int) -> None:
        """Add one tensor's blocks to ``total``; ``part`` makes its signs and rotations differ from other tensors'."""
        signs = _signs(self.seed, elements.device)
        generator = torch.Generator().manual_seed((self.seed << 40) + part + 1)
        blocks = elements.split(self.size)
        starts = torch.randint(SIGNS - self.size, (len(blocks),), generator=generator).tolist()
        rotations = torch.randint(self.size, (len(blocks),), generator=generator).tolist()
        for block, start, rotation in zip(blocks, starts, rotations, strict=True):
            signed = block * signs[start : start + len(block)]
            fits = min(len(block), self.size - rotation)
            total[rotation : rotation + fits] += signed[:fits]
            total[: len(block) - fits] += signed[fits:]


@functools.lru_cache(maxsize=2)
def _signs(seed: int, device: torch.device) -> Tensor:
    bits = torch.randint(2, (SIGNS,), dtype=torch.int8, generator=torch.Generator().manual_seed(seed))
    return (2 * bits - 1).to(device)
