"""Random numbers of examples: the same for an example wherever, and in whatever batch, it is computed."""

from collections.abc import Sequence

import torch
from torch import Tensor

from unlearn_pl.host_copies import on_host


class ExampleRandom:
    """A stream of random numbers per example, for losses that draw noise, timesteps or views.

    Numbers depend on an example's seed and on the calls before, not on the rest of the batch, the device or the rank.

    Args:
        seeds: ``[B]`` int64, not negative: ``batch["seeds"]``, which data modules derive from
            ``(seed, stream, step, index)``.

    Example:
        >>> import torch
        >>> noise = ExampleRandom(torch.tensor([3, 5])).normal([2])
        >>> torch.equal(noise[1:], ExampleRandom(torch.tensor([5])).normal([2]))
        True
    """

    def __init__(self, seeds: Tensor) -> None:
        self._device = seeds.device
        self._generators = [torch.Generator().manual_seed(seed) for seed in on_host(seeds).tolist()]

    def normal(self, shape: Sequence[int], dtype: torch.dtype = torch.float32) -> Tensor:
        """Standard normal numbers ``[B, *shape]``."""
        # In fp64, so that every type of weights sees the same numbers.
        drawn = [torch.randn(tuple(shape), generator=g, dtype=torch.float64) for g in self._generators]
        return torch.stack(drawn).to(self._device, dtype, non_blocking=True)

    def integers(self, high: int) -> Tensor:
        """Integers from 0 to ``high - 1``, ``[B]``."""
        drawn = [torch.randint(high, (), generator=g) for g in self._generators]
        return torch.stack(drawn).to(self._device, non_blocking=True)

    def uniform(self, shape: Sequence[int], dtype: torch.dtype = torch.float32) -> Tensor:
        """Uniform numbers in [0, 1), ``[B, *shape]``."""
        drawn = [torch.rand(tuple(shape), generator=g, dtype=torch.float64) for g in self._generators]
        return torch.stack(drawn).to(self._device, dtype, non_blocking=True)
