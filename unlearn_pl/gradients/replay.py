"""Run a window forward and backward: a row or a sketch per objective, or the gradient of their weighted sum."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from unlearn_pl.gradients.row_storage import RowStorage
from unlearn_pl.gradients.rows import Row, gramian, harvest, restore
from unlearn_pl.gradients.sketch import CountSketch
from unlearn_pl.gradients.whole_rows import WholeRows
from unlearn_pl.gradients.window import StreamGroup, Window
from unlearn_pl.objectives import Objective
from unlearn_pl.types import Role, StreamView, TokenBatch


def _mask_nothing(row: Row) -> None:
    """Everything may change."""


@dataclass
class Replay:
    """One window, ready to be run as often as a gradient source asks for.

    The loss of objective k on micro-batch m is weighted by its share of the window, ``count_mk / count_k``, where
    ``count_k`` runs over all micro-batches and ranks. So accumulation, world size and answer length change nothing.

    Attributes:
        window: the micro-batches.
        objectives: name to objective, in the order of the rows.
        groups: which of them share forward passes.
        shares: ``[N, K]`` of ``count_mk / count_k``.
        parameters: the trained parameters.
        view: ``(stream name, micro-batch) -> StreamView``, with a graph.
        backward: ``(loss, retain_graph) -> None``; reduces the gradients over ranks unless inside ``no_sync``.
        no_sync: context in which gradients stay on their rank.
        world_size: number of ranks that the reduction averages over.
        clone_gradients: ``.grad`` is a view of memory that is written again.
        sharded: gradients are shards, whose products add up over ranks.
        mask: zeroes, in place, what may not change in a row.
        storage: how rows wait for each other.
        step: number of optimizer steps before this one.
        reach_all: 0, as a function of all parameters, for reductions that wait for each of them; None where none does.
        losses: name to this rank's share of the objective's mean loss, once it was run.
    """

    window: Window
    objectives: Mapping[str, Objective]
    groups: Sequence[StreamGroup]
    shares: Tensor
    parameters: Sequence[nn.Parameter]
    view: Callable[[str, TokenBatch], StreamView]
    backward: Callable[[Tensor, bool], None]
    no_sync: Callable[[], AbstractContextManager[None]] = nullcontext
    world_size: int = 1
    clone_gradients: bool = False
    sharded: bool = False
    mask: Callable[[Row], None] = _mask_nothing
    storage: RowStorage = field(default_factory=WholeRows)
    step: int = 0
    reach_all: Callable[[], Tensor] | None = None
    losses: dict[str, Tensor] = field(default_factory=dict)

    def rows(self, names: Sequence[str] | None = None) -> dict[str, Row]:
        """The gradient of each objective's mean loss over the window and all ranks.

        Args:
            names: objectives to run; all by default.

        Returns:
            Name to row, masked, in the order of ``objectives``. ``.grad`` is None afterwards.
        """
        rows: dict[str, Row] = {}
        for name, m, loss, keeps_graph in self._losses_one_by_one(names):
            restore(self.parameters, rows.get(name))
            done = m == len(self.window) - 1
            with nullcontext() if done and not self.storage.scatters else self.no_sync():
                self.backward(loss if self.storage.scatters else loss * self.world_size, keeps_graph)
            row = harvest(self.parameters, clone=self.clone_gradients)
            del loss  # the next forward starts with this one's activations freed
            if done:
                self.mask(row)
                row = self.storage.keep(row, last=name == self._last_of(names))
            rows[name] = row
        self.storage.wait()
        return {name: rows[name] for name in self.objectives if name in rows}

    def sketches(self, sketch: CountSketch) -> Tensor:
        """Sketches of the rows, which are never kept: ``[K, size]``, to be summed over ranks.

        Nothing is reduced over ranks, unless gradients are sharded.
        """
        totals: dict[str, Tensor] = {}
        shard = torch.distributed.get_rank() if self.sharded else 0
        for name, _, loss, keeps_graph in self._losses_one_by_one(None):
            with nullcontext() if self.sharded else self.no_sync():
                self.backward(loss * self.world_size if self.sharded else loss, keeps_graph)
            row = harvest(self.parameters)
            self.mask(row)
            totals[name] = totals.get(name, 0) + sketch(row, shard)
            del loss, row
        return torch.stack([totals[name] for name in self.objectives])

    def weighted_sum(self, weights: Mapping[str, float]) -> None:
        """Leave the masked gradient of ``sum_k w_k L_k`` in ``.grad``, with one backward pass per forward pass.

        Objectives of weight 0 are left out altogether, so that what is not finite in them goes nowhere.
        """
        restore(self.parameters, None)
        self._forget_losses(None)
        weighted = [group for group in self.groups if any(weights[name] for name in group.objectives)]
        last = (weighted[-1] if weighted else None, len(self.window) - 1)
        for group in self.groups:
            for m, batch in enumerate(self.window.micro_batches):
                with torch.set_grad_enabled(group in weighted):
                    views = {stream: self.view(stream, batch[stream]) for stream in group.streams}
                    losses = {name: self._share_of_loss(name, views, m) for name in group.objectives}
                terms = [weights[name] * loss for name, loss in losses.items() if weights[name]]
                if terms:
                    with nullcontext() if (group, m) == last else self.no_sync():
                        self.backward(torch.stack(terms).sum() * self.world_size, False)
                del views, losses, terms
        row = harvest(self.parameters)
        self.mask(row)
        restore(self.parameters, row)

    def names_of(self, role: Role) -> list[str]:
        """The objectives of ``role``."""
        return [name for name, objective in self.objectives.items() if objective.role == role]

    def norm(self, row: Row) -> float:
        """Euclidean length of a row, over all of its shards; the same on every rank."""
        square = gramian([row])
        if self.sharded:
            torch.distributed.all_reduce(square)
        return square.sqrt().item()

    def _losses_one_by_one(self, names: Sequence[str] | None) -> Iterator[tuple[str, int, Tensor, bool]]:
        """Name, micro-batch, this rank's share of the loss, and whether another one still needs its graph."""
        self._forget_losses(names)
        for group in self._groups(names):
            for m, batch in enumerate(self.window.micro_batches):
                views = {stream: self.view(stream, batch[stream]) for stream in group.streams}
                for name in group.objectives:
                    yield name, m, self._share_of_loss(name, views, m), name != group.objectives[-1]
                del views

    def _last_of(self, names: Sequence[str] | None) -> str:
        return self._groups(names)[-1].objectives[-1]

    def _groups(self, names: Sequence[str] | None) -> list[StreamGroup]:
        wanted = list(self.objectives) if names is None else list(names)
        return [group for group in (g.only(wanted) for g in self.groups) if group.objectives]

    def _forget_losses(self, names: Sequence[str] | None) -> None:
        for name in self.objectives if names is None else names:
            self.losses.pop(name, None)

    def _share_of_loss(self, name: str, views: Mapping[str, StreamView], micro_batch: int) -> Tensor:
        objective = self.objectives[name]
        share = self.shares[micro_batch, list(self.objectives).index(name)]
        loss = objective.loss(*(views[stream] for stream in objective.streams))
        loss = loss * share.to(loss.dtype)
        self.losses[name] = self.losses.get(name, 0) + loss.detach().double()
        return loss if objective.reaches_all or self.reach_all is None else loss + self.reach_all()
