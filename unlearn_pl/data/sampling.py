"""The examples of every optimizer step: a pure function of seed, stream and step.

The order is that of an endless sequence of permutations, one per *round*. Step ``t`` takes the positions
``[t * batch_size, (t + 1) * batch_size)``, whatever the number of devices or the size of micro-batches. In a step in
which one round ends and the next one begins, the new round skips examples that the step already contains; they come
right after that step.
"""

import hashlib
from collections.abc import Callable, Iterator, Sequence, Sized
from functools import lru_cache
from typing import NamedTuple, cast

import torch
from torch import Tensor
from torch.utils.data import Dataset, DistributedSampler


class Draw(NamedTuple):
    """One example of a step.

    Attributes:
        example: position of the example in its dataset.
        round: number of times that the whole dataset was shown before.
    """

    example: int
    round: int


class StepShare(NamedTuple):
    """One rank's share of a stream in one optimizer step.

    Attributes:
        step: number of the step.
        draws: the rank's part of the step's draws.
    """

    step: int
    draws: list[Draw]


def stable_hash(*parts: str | int) -> int:
    """A 64-bit number that depends only on ``parts``: the same in every process, on every platform."""
    digest = hashlib.sha256("/".join(map(str, parts)).encode()).digest()
    return int.from_bytes(digest[:8], "little")


def step_draws(seed: int, stream: str, step: int, batch_size: int, num_examples: int) -> list[Draw]:
    """The examples of optimizer step ``step``.

    No example is drawn twice before all were drawn once, and none twice in a step that is not larger than the dataset,
    so that no two devices share one. A companion stream (``forget.alternate``) has the order of its parent
    (``forget``), so that both contain the same examples.

    Args:
        seed: seed of the order.
        stream: name of the stream; anything after the first dot is ignored.
        step: number of the optimizer step, from 0 and through all epochs.
        batch_size: examples of the stream per optimizer step, over all devices.
        num_examples: examples in the stream.

    Returns:
        ``batch_size`` draws.

    Raises:
        ValueError: if there are no examples, or a number is negative.
    """
    if num_examples < 1 or batch_size < 1 or step < 0:
        raise ValueError(
            f"step={step}, batch_size={batch_size}, num_examples={num_examples}: "
            "a step is at least 0, the other two at least 1."
        )
    first, last = step * batch_size, (step + 1) * batch_size
    draws: list[Draw] = []
    for round_number in range(first // num_examples, (last - 1) // num_examples + 1):
        order = _order(seed, stream.partition(".")[0], round_number, batch_size, num_examples)
        start = round_number * num_examples
        shown = order[max(first - start, 0) : last - start].tolist()
        draws += [Draw(example, round_number) for example in shown]
    return draws


def step_indices(seed: int, stream: str, step: int, batch_size: int, num_examples: int) -> list[int]:
    """The positions in the dataset of :func:`step_draws`."""
    return [draw.example for draw in step_draws(seed, stream, step, batch_size, num_examples)]


def example_seeds(seed: int, stream: str, step: int, index: Sequence[int]) -> list[int]:
    """A seed per example for the random numbers of its loss: noise, timesteps, views.

    Seeds depend only on ``(seed, stream, step, index)``, so that the loss is the same when a window is run again, and
    for every size of micro-batches and number of ranks.

    Args:
        seed: seed of the data module.
        stream: name of the stream.
        step: number of the optimizer step.
        index: positions of the examples in their dataset.

    Returns:
        Numbers in ``[0, 2^63)``, as :meth:`torch.Generator.manual_seed` takes them.
    """
    return [stable_hash("example", seed, stream, step, i) >> 1 for i in index]


@lru_cache(maxsize=4)  # every step of a round asks for it again, for a few streams in turn
def _order(seed: int, stream: str, round_number: int, batch_size: int, num_examples: int) -> Tensor:
    """The permutation of a round; its first step repeats no example that the previous round shows in that step."""
    if batch_size > num_examples:
        return _permutation(seed, stream, round_number, num_examples)

    def shared(number: int) -> int:
        """Number of examples of the previous round in the step with which a round begins."""
        return number * num_examples % batch_size

    # The end of a round of less than two steps depends on its beginning, and thus on the previous round.
    first = max(round_number - 1, 0)
    while shared(first) and num_examples < 2 * batch_size:
        first -= 1
    order = _permutation(seed, stream, first, num_examples)
    for number in range(first + 1, round_number + 1):
        just_seen = order[num_examples - shared(number) :]
        order = _permutation(seed, stream, number, num_examples)
        step = order[:batch_size]
        shown = step[~torch.isin(step, just_seen)][: batch_size - len(just_seen)]
        order = torch.cat([shown, step[~torch.isin(step, shown)], order[batch_size:]])
    return order


def _permutation(seed: int, stream: str, round_number: int, num_examples: int) -> Tensor:
    generator = torch.Generator().manual_seed(stable_hash(seed, stream, round_number))
    return torch.randperm(num_examples, generator=generator)


class StepSampler(DistributedSampler[StepShare]):
    """Yields one rank's :class:`StepShare` of the optimizer steps ``start()``, ``start() + 1``, ... of an epoch.

    Each rank takes a contiguous slice of every step. It is a ``DistributedSampler`` because Lightning replaces every
    other sampler with a shuffled one in distributed training.

    Args:
        dataset: the stream's examples; only its length is used.
        stream: name of the stream.
        seed: seed of the order.
        batch_size: examples per optimizer step, over all ranks.
        steps_per_epoch: optimizer steps per epoch.
        start: returns the number of the first step, and is called whenever an epoch begins; this is also how training
            resumes.
        num_replicas: number of ranks.
        rank: this process's rank.

    Raises:
        ValueError: if ``batch_size`` is not a multiple of ``num_replicas``.
    """

    def __init__(
        self,
        dataset: Dataset,
        stream: str,
        *,
        seed: int,
        batch_size: int,
        steps_per_epoch: int,
        start: Callable[[], int],
        num_replicas: int = 1,
        rank: int = 0,
    ) -> None:
        super().__init__(dataset, num_replicas=num_replicas, rank=rank, shuffle=False, seed=seed)
        if batch_size % num_replicas:
            raise ValueError(f"batch_size={batch_size} cannot be shared equally by {num_replicas} devices.")
        self.stream = stream
        self.batch_size = batch_size
        self.steps_per_epoch = steps_per_epoch
        self.start = start

    def __iter__(self) -> Iterator[StepShare]:
        share = self.batch_size // self.num_replicas
        num_examples = len(cast(Sized, self.dataset))
        first = self.start()
        for step in range(first, first + self.steps_per_epoch):
            draws = step_draws(self.seed, self.stream, step, self.batch_size, num_examples)
            yield StepShare(step, draws[self.rank * share : (self.rank + 1) * share])

    def __len__(self) -> int:
        return self.steps_per_epoch

    def set_epoch(self, epoch: int) -> None:
        """Does nothing: examples depend on the step, not on the epoch."""
