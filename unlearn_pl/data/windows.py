"""A training stream as windows: this rank's micro-batches of one optimizer step."""

from collections.abc import Callable, Sequence

import torch
from torch.utils.data import DataLoader, Dataset

from unlearn_pl.data.sampling import Draw, StepSampler, StepShare, example_seeds
from unlearn_pl.types import Batch


class WindowDataset(Dataset[list[Batch]]):
    """The micro-batches of a share of a step, made on demand.

    Args:
        stream: name of the stream.
        seed: seed of the random numbers of its examples.
        micro_batch_size: examples per micro-batch.
        batch_of: makes a batch from draws.
    """

    def __init__(
        self, stream: str, *, seed: int, micro_batch_size: int, batch_of: Callable[[Sequence[Draw]], Batch]
    ) -> None:
        self.stream = stream
        self.seed = seed
        self.micro_batch_size = micro_batch_size
        self.batch_of = batch_of

    def __getitem__(self, share: StepShare) -> list[Batch]:
        size = self.micro_batch_size
        return [self.micro_batch(share.step, share.draws[i : i + size]) for i in range(0, len(share.draws), size)]

    def micro_batch(self, step: int, draws: Sequence[Draw]) -> Batch:
        """The batch of ``draws``, with ``index [B]`` and the ``seeds [B]`` of ``step``."""
        batch = self.batch_of(draws)
        index = [draw.example for draw in draws]
        seeds = torch.tensor(example_seeds(self.seed, self.stream, step, index))
        return {"index": torch.tensor(index), **batch, "seeds": seeds}


class WindowLoader(DataLoader):
    """A DataLoader over a :class:`WindowDataset` that Lightning accepts as resumable.

    The sampler asks for the first optimizer step, so there is no state to save. Lightning requires these two methods to
    resume inside an epoch, and warns if they are missing.

    Args:
        windows: the stream.
        sampler: the steps of an epoch.
        num_workers: worker processes.
    """

    def __init__(self, windows: WindowDataset, sampler: StepSampler, num_workers: int = 0) -> None:
        super().__init__(
            windows,
            batch_size=None,
            sampler=sampler,
            num_workers=num_workers,
            persistent_workers=num_workers > 0,
            collate_fn=_as_it_is,
        )

    def state_dict(self) -> dict[str, object]:
        """An empty state."""
        return {}

    def load_state_dict(self, state_dict: dict[str, object]) -> None:
        """Does nothing: there is no state."""


def _as_it_is(window: list[Batch]) -> list[Batch]:
    return window
