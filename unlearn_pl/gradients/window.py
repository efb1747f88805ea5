"""The window: the micro-batches of one optimizer step.

Micro-batches are a few kilobytes of token ids, so they are kept until the window is full and then run together.
Every count is then known before the first backward: losses are weighted exactly, a plain weighted sum needs one
gradient only, and a gradient source may run the window again (sharpness-aware unlearning does).
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from unlearn_pl.objectives import Objective
from unlearn_pl.types import UnlearnBatch, count_labels, label_mask


@dataclass
class Window:
    """Micro-batches of one optimizer step, in the order in which they came."""

    micro_batches: list[UnlearnBatch] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.micro_batches)

    def add(self, batch: UnlearnBatch) -> None:
        """Append one micro-batch."""
        self.micro_batches.append(batch)

    def clear(self) -> None:
        """Start the next window."""
        self.micro_batches.clear()

    def counts(self, objectives: Sequence[Objective]) -> Tensor:
        """Tokens or sequences that each objective averages over: ``[N, K]`` for N micro-batches, fp64."""
        return torch.stack(
            [torch.stack([micro_batch_count(batch, o) for o in objectives]) for batch in self.micro_batches]
        )


def micro_batch_count(batch: UnlearnBatch, objective: Objective) -> Tensor:
    """What ``objective`` averages over in one micro-batch: ``[]`` fp64."""
    return count_labels(label_mask(batch[objective.streams[0]]["labels"]), objective.mean_over)


@dataclass(frozen=True)
class StreamGroup:
    """Streams that share a forward pass because some objective reads them together.

    Attributes:
        streams: names of the streams.
        objectives: names of the objectives that read them, in the order of their backward passes.
    """

    streams: tuple[str, ...]
    objectives: tuple[str, ...]

    def only(self, names: Sequence[str]) -> "StreamGroup":
        """The same group with the objectives among ``names``."""
        return StreamGroup(self.streams, tuple(name for name in self.objectives if name in names))


def group_streams(objectives: dict[str, Objective]) -> list[StreamGroup]:
    """Group ``objectives`` by the streams that they read; objectives of one group share each stream's forward.

    The groups and their objectives keep the order of ``objectives``.
    """
    groups: list[StreamGroup] = []
    for name, objective in objectives.items():
        touching = [g for g in groups if set(g.streams) & set(objective.streams)]
        streams = dict.fromkeys([s for g in touching for s in g.streams] + list(objective.streams))
        readers = [o for g in touching for o in g.objectives] + [name]
        merged = StreamGroup(tuple(streams), tuple(o for o in objectives if o in readers))
        position = groups.index(touching[0]) if touching else len(groups)
        groups = [g for g in groups if g not in touching]
        groups.insert(position, merged)
    return groups
