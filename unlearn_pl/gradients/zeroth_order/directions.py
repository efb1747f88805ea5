"""Random directions that are functions of a seed, so that none is ever stored."""

import math
import random
from abc import ABC, abstractmethod
from collections.abc import Iterator

import torch
from torch import Tensor

from unlearn_pl.recording import Recorded

CHUNK = 1 << 20
"""Numbers that exist at the same time."""


class Directions(Recorded, ABC):
    """A distribution of directions ``u`` with ``E[u u^T] = I``; directions of different parameters are independent."""

    def numbers(self, key: str, size: int, dtype: torch.dtype, device: torch.device) -> Iterator[Tensor]:
        """The elements of a direction that belong to one parameter, part by part: ``[n]`` each.

        Args:
            key: decides the numbers; the same on every rank that holds the same elements.
            size: number of elements.
            dtype: dtype of the numbers.
            device: where they are drawn; a GPU draws other numbers than a CPU.

        Returns:
            Parts ``[n]`` with n at most :data:`CHUNK`; the memory of one is used again for the next.
        """
        generator = torch.Generator(device).manual_seed(random.Random(key).getrandbits(63))
        part = torch.empty(min(size, CHUNK), dtype=dtype, device=device)
        return self.draw(generator, size, part)

    @abstractmethod
    def draw(self, generator: torch.Generator, size: int, part: Tensor) -> Iterator[Tensor]:
        """See :meth:`numbers`: parts ``[n]``.

        Args:
            generator: random numbers, at their beginning.
            size: number of elements.
            part: ``[n]``, the memory to be filled and yielded.
        """


class GaussianDirections(Directions):
    """Standard normal numbers."""

    def draw(self, generator: torch.Generator, size: int, part: Tensor) -> Iterator[Tensor]:
        """See :meth:`Directions.draw`: parts ``[n]``."""
        for start in range(0, size, max(1, len(part))):  # a parameter may have no trained element
            yield part[: size - start].normal_(generator=generator)


class SphereDirections(Directions):
    """Uniform on the sphere of radius ``sqrt(d)`` in the d dimensions of each parameter, or of a rank's shard of it.

    As DeepZero's, with the factors ``mu`` and ``1 / d`` that its code leaves out. Numbers are drawn twice, because the
    length is needed first.
    """

    def draw(self, generator: torch.Generator, size: int, part: Tensor) -> Iterator[Tensor]:
        """See :meth:`Directions.draw`: parts ``[n]``."""
        start, square = generator.get_state(), torch.zeros([], dtype=torch.float64, device=part.device)
        for numbers in GaussianDirections().draw(generator, size, part):
            square += numbers.double().square().sum()
        generator.set_state(start)
        factor = math.sqrt(size) / square.clamp(min=torch.finfo(torch.float64).tiny).sqrt()
        for numbers in GaussianDirections().draw(generator, size, part):
            yield numbers.mul_(factor.to(numbers.dtype))
