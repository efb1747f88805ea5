"""The window: the data of one optimizer step on this rank, and the share of every micro-batch in every loss.

All micro-batches of a step are available before its first forward, so that every count is known before the first
backward: losses are weighted exactly, a plain weighted sum needs a single gradient, and a gradient source may run the
window again (sharpness-aware unlearning does).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor, distributed

from unlearn_pl.objectives import Objective
from unlearn_pl.token_weights import nonzero_or_one
from unlearn_pl.types import Batch, MeanOver, Role
from unlearn_pl.types import Window as WindowData


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


def group_streams(objectives: Mapping[str, Objective]) -> list[StreamGroup]:
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


@dataclass(frozen=True)
class Window:
    """One optimizer step's data, with the objectives that read it.

    The loss of objective k on micro-batch m is weighted by its share of the window, ``count_mk / count_k``, where
    ``count_k`` runs over all micro-batches and ranks. Gradients therefore do not depend on how the examples, long or
    short, are split into micro-batches and over ranks. Counts are summed over ranks, in one small collective, when a
    share is first read.

    Attributes:
        data: the micro-batches of every stream.
        objectives: name to objective, in the order of the rows.
        counts: 2 K tensors ``[M]`` fp64 of this rank: what the loss of each objective averages over in each
            micro-batch, then the sequences of its ``progress_stream``.
        world_size: number of ranks that share the window.
        step: number of optimizer steps before this one.
    """

    data: WindowData
    objectives: Mapping[str, Objective]
    counts: Sequence[Tensor]
    world_size: int = 1
    step: int = 0

    @property
    def alone(self) -> "Window":
        """The window as if this rank's data were all of it."""
        return replace(self, world_size=1)

    @cached_property
    def totals(self) -> Tensor:
        """The counts of the window and all ranks: ``[2, K]`` fp64, of the losses and of the sequences."""
        totals = torch.stack([own.sum() for own in self.counts])
        if self.world_size > 1:
            distributed.all_reduce(totals)
        return totals.view(2, -1)

    @cached_property
    def shares(self) -> Mapping[str, Tensor]:
        """Name to ``[M]``, the shares of the micro-batches of the objective's streams."""
        return dict(zip(self.objectives, self._shares[: len(self.objectives)], strict=True))

    @cached_property
    def sequence_shares(self) -> Mapping[str, Tensor]:
        """Name to ``[M]``, the shares of the sequences of the objective's ``progress_stream``."""
        return dict(zip(self.objectives, self._shares[len(self.objectives) :], strict=True))

    @cached_property
    def _shares(self) -> list[Tensor]:
        return [own / nonzero_or_one(total) for own, total in zip(self.counts, self.totals.flatten(), strict=True)]

    @property
    def groups(self) -> list[StreamGroup]:
        """Which objectives share forward passes."""
        return group_streams(self.objectives)

    def micro_batches(self, group: StreamGroup) -> list[Mapping[str, Batch]]:
        """The micro-batches of a group's streams: M mappings of stream to batch."""
        return [
            dict(zip(group.streams, batches, strict=True))
            for batches in zip(*(self.data[stream] for stream in group.streams), strict=True)
        ]

    def names_of(self, role: Role) -> list[str]:
        """The objectives of ``role``."""
        return [name for name, objective in self.objectives.items() if objective.role == role]


def window_of(
    data: WindowData,
    objectives: Mapping[str, Objective],
    count: Callable[[Batch, MeanOver], Tensor],
    world_size: int = 1,
    step: int = 0,
) -> Window:
    """The window of ``data``, in which the examples of every micro-batch are counted.

    Args:
        data: the micro-batches of every stream on this rank.
        objectives: name to objective.
        count: what a loss over a micro-batch averages over, ``[]``.
        world_size: number of ranks.
        step: number of optimizer steps before this one.

    Raises:
        ValueError: if an objective reads a missing stream, or streams that are read together have different numbers of
            micro-batches.
    """
    for name, objective in objectives.items():
        sizes = {stream: len(data[stream]) for stream in objective.streams if stream in data}
        if missing := [stream for stream in objective.streams if stream not in data]:
            raise ValueError(f"Objective {name!r} reads stream {missing[0]!r}, but the data has {sorted(data)}.")
        if len(set(sizes.values())) > 1:
            raise ValueError(f"Objective {name!r} reads streams with different numbers of micro-batches: {sizes}.")
    counts = [
        *(torch.stack([count(batch, o.mean_over) for batch in data[o.streams[0]]]) for o in objectives.values()),
        *(torch.stack([count(batch, "sequences") for batch in data[o.progress_stream]]) for o in objectives.values()),
    ]
    return Window(data, objectives, counts, world_size, step)
