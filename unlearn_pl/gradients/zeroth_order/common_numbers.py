"""The same random numbers for every evaluation of a step."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import nn


class CommonNumbers:
    """The states of the random generators at one moment, to be set again.

    A loss that draws random numbers is then the same function at every point where it is evaluated.

    Args:
        parameters: their devices have the generators.
    """

    def __init__(self, parameters: Sequence[nn.Parameter]) -> None:
        self._devices = sorted({p.device.index or 0 for p in parameters if p.device.type == "cuda"})
        self._cpu = torch.get_rng_state()
        self._cuda = [torch.cuda.get_rng_state(device) for device in self._devices]

    @contextmanager
    def again(self) -> Iterator[None]:
        """Draw the same numbers as at that moment; afterwards the generators are as they were before."""
        with torch.random.fork_rng(self._devices):
            torch.set_rng_state(self._cpu)
            for device, state in zip(self._devices, self._cuda, strict=True):
                torch.cuda.set_rng_state(state, device)
            yield
