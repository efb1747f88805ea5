"""Sets of coordinates: which weights are probed one by one."""

import random
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from unlearn_pl.gradients.replay import Replay
from unlearn_pl.recording import Recorded


class CoordinateSet(Recorded, ABC):
    """Chooses coordinates among the trained elements, the same on every rank.

    Attributes:
        count: number of coordinates; None where it depends on the model.
    """

    count: int | None = None

    @abstractmethod
    def choose(self, sizes: Mapping[str, int], replay: Replay) -> dict[str, Tensor]:
        """The coordinates of a step.

        Args:
            sizes: name of a parameter to the number of its trained elements, over all shards.
            replay: the window and its step; inside ``runtime.forward_only()``, so that losses may be evaluated.

        Returns:
            Name of a parameter to ``[n]`` int64 on the CPU: ascending numbers of trained elements, from 0.
        """

    def reset(self) -> None:
        """Discard what earlier steps have left; by default there is nothing."""
        return

    def state_dict(self) -> dict[str, Any]:
        """State for :meth:`load_state_dict`: tensors and plain values only."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Resume from ``state``."""
        return


class AllCoordinates(CoordinateSet):
    """Every element that may change: with a mask file, those that it marks."""

    def choose(self, sizes: Mapping[str, int], replay: Replay) -> dict[str, Tensor]:
        """All of them."""
        return {name: torch.arange(size) for name, size in sizes.items()}


class RandomCoordinates(CoordinateSet):
    """Coordinates drawn at random in every parameter, in proportion to its size.

    Args:
        count: number of coordinates, at most that of the trained elements.
        redraw_every: optimizer steps after which they are drawn again; DeepZero's five epochs are five times the steps
            of an epoch.
        seed: random seed.

    Raises:
        ValueError: if ``count`` or ``redraw_every`` is not positive.

    References:
        Zhang et al., DeepZero, ICLR 2024, arXiv 2310.02025, section 4.
    """

    count: int

    def __init__(self, count: int = 256, redraw_every: int = 50, seed: int = 0) -> None:
        if count < 1 or redraw_every < 1:
            raise ValueError(f"count is {count} and redraw_every {redraw_every}; accepted: positive numbers.")
        self.count = count
        self.redraw_every = redraw_every
        self.seed = seed

    def choose(self, sizes: Mapping[str, int], replay: Replay) -> dict[str, Tensor]:
        """A draw that depends on the seed and on the number of draws before."""
        draw = replay.window.step // self.redraw_every
        return {
            name: sample(sizes[name], count, f"{self.seed}/{draw}/{name}")
            for name, count in self.counts(sizes, replay).items()
        }

    def counts(self, sizes: Mapping[str, int], replay: Replay) -> dict[str, int]:
        """Coordinates per parameter.

        Args:
            sizes: name of a parameter to the number of its trained elements.
            replay: the window.
        """
        return shared_out(self.count, sizes, sizes)


def sample(size: int, count: int, key: str) -> Tensor:
    """``[count]`` different numbers below ``size``, ascending; a function of ``key``."""
    return torch.tensor(sorted(random.Random(key).sample(range(size), count)), dtype=torch.int64)


def shared_out(count: int, shares: Mapping[str, float], sizes: Mapping[str, int]) -> dict[str, int]:
    """``count`` divided in proportion to ``shares``, no part above its size.

    Args:
        count: number to be divided; all if there are fewer.
        shares: name to a number that is not negative.
        sizes: name to the largest part.
    """
    count = min(count, sum(sizes.values()))
    parts = dict.fromkeys(sizes, 0)
    while (left := count - sum(parts.values())) > 0:
        open_shares = {name: shares[name] for name in sizes if parts[name] < sizes[name]}
        total = sum(open_shares.values())
        if total <= 0:  # those with a share are full
            open_shares = {name: float(sizes[name] - parts[name]) for name in open_shares}
            total = sum(open_shares.values())
        wanted = {name: left * share / total for name, share in open_shares.items()}
        given = {name: min(int(part), sizes[name] - parts[name]) for name, part in wanted.items()}
        if not any(given.values()):  # remainders, the largest first
            order = _by_remainder(wanted)
            given = dict.fromkeys(order[:left], 1)
        parts = {name: part + given.get(name, 0) for name, part in parts.items()}
    return parts


def _by_remainder(wanted: Mapping[str, float]) -> Sequence[str]:
    return sorted(wanted, key=lambda name: -wanted[name])
