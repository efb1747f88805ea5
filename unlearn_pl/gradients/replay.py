"""Forward and backward passes over a window: a row or a sketch per objective, or the gradient of a weighted sum."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from unlearn_pl.gradients.rows import Row, gramian, harvest, restore
from unlearn_pl.gradients.runtime import Runtime
from unlearn_pl.gradients.sketch import CountSketch
from unlearn_pl.gradients.storage.row_storage import RowStorage
from unlearn_pl.gradients.storage.whole_rows import WholeRows
from unlearn_pl.gradients.weighted_loss import checked_loss
from unlearn_pl.gradients.window import StreamGroup, Window
from unlearn_pl.types import View


@dataclass
class Replay:
    """One window, which a gradient source may run any number of times.

    Attributes:
        window: the data and the objectives.
        runtime: forward and backward passes.
        storage: keeps rows until all of them are available.
        losses: name to this rank's share ``[]`` of the objective's mean loss, once it has been run.
        progress: name to this rank's shares ``[2]`` of its progress, and of that relative to the reference model.
    """

    window: Window
    runtime: Runtime
    storage: RowStorage = field(default_factory=WholeRows)
    losses: dict[str, Tensor] = field(default_factory=dict)
    progress: dict[str, Tensor] = field(default_factory=dict)

    @property
    def parameters(self) -> Sequence[nn.Parameter]:
        """The trained parameters."""
        return self.runtime.parameters

    @property
    def readings(self) -> Tensor:
        """This rank's shares of loss, progress, and progress relative to the reference model: ``[K, 3]`` fp64."""
        return torch.stack(
            [torch.cat([self.losses[name].view(1), self.progress[name]]) for name in self.window.objectives]
        )

    def rows(self, names: Sequence[str] | None = None) -> dict[str, Row]:
        """The gradient of each objective's mean loss over the window and all ranks.

        Args:
            names: objectives to run; all by default.

        Returns:
            Name to row, masked, in the order of the objectives. ``.grad`` is None afterwards.
        """
        rows: dict[str, Row] = {}
        runtime = self.runtime
        for name, done, loss, keeps_graph in self._losses_one_by_one(names):
            restore(self.parameters, rows.get(name))
            with nullcontext() if done and not self.storage.scatters else runtime.no_sync():
                runtime.backward(loss if self.storage.scatters else loss * runtime.world_size, keeps_graph)
            row = harvest(self.parameters, clone=runtime.clones_gradients)
            del loss  # frees the activations before the next forward
            if done:
                runtime.mask(row)
                row = self.storage.keep(row, last=name == self._last_of(names))
            rows[name] = row
        self.storage.wait()
        return {name: rows[name] for name in self.window.objectives if name in rows}

    def sums(self, parts: Mapping[str, Mapping[str, float]]) -> dict[str, Row]:
        """The gradients of weighted sums of losses, each with one backward pass per forward pass.

        Args:
            parts: name of a sum to the weights of its objectives, by name; no objective is in two of them.

        Returns:
            Name of the sum to row, masked. ``.grad`` is None afterwards.
        """
        rows: dict[str, Row] = {}
        self._forget_losses(None)
        for group, m, views, last in self._forwards():
            losses = {name: self._share_of_loss(name, views, m) for name in group.objectives}
            here = [part for part, weights in parts.items() if any(name in weights for name in group.objectives)]
            for part in here:
                terms = [weight * losses[name] for name, weight in parts[part].items() if name in losses]
                done = last and group == self._last_group_of(parts[part])
                restore(self.parameters, rows.get(part))
                with nullcontext() if done else self.runtime.no_sync():
                    total = torch.stack(terms).sum() * self.runtime.world_size
                    self.runtime.backward(total, part != here[-1])
                rows[part] = harvest(self.parameters, clone=self.runtime.clones_gradients)
                if done:
                    self.runtime.mask(rows[part])
            del views, losses
        return {part: rows[part] for part in parts}

    def _forwards(self) -> Iterator[tuple[StreamGroup, int, dict[str, View], bool]]:
        """Group, number of the micro-batch, the views of its streams, and whether it is the group's last."""
        for group in self.window.groups:
            batches = self.window.micro_batches(group)
            for m, batch in enumerate(batches):
                views = {stream: self.runtime.view(stream, part) for stream, part in batch.items()}
                yield group, m, views, m == len(batches) - 1
                del views  # before the next forward

    def _last_group_of(self, names: Collection[str]) -> StreamGroup:
        return [group for group in self.window.groups if set(names) & set(group.objectives)][-1]

    def sketches(self, sketch: CountSketch) -> Tensor:
        """Sketches of the rows: ``[K, size]``, to be summed over ranks.

        No row is kept, and nothing is reduced over ranks unless gradients are sharded.
        """
        totals: dict[str, Tensor] = {}
        runtime = self.runtime
        shard = runtime.rank if runtime.sharded else 0
        for name, _, loss, keeps_graph in self._losses_one_by_one(None):
            with nullcontext() if runtime.sharded else runtime.no_sync():
                runtime.backward(loss * runtime.world_size if runtime.sharded else loss, keeps_graph)
            row = harvest(self.parameters)
            runtime.mask(row)
            totals[name] = totals.get(name, 0) + sketch(row, shard)
            del loss, row
        return torch.stack([totals[name] for name in self.window.objectives])

    def weighted_sum(self, weights: Mapping[str, float]) -> None:
        """Leave the masked gradient of ``sum_k w_k L_k`` in ``.grad``, with one backward pass per forward pass.

        Objectives of weight 0 are skipped altogether, so that non-finite values in them have no effect.
        """
        restore(self.parameters, None)
        self._forget_losses(None)
        weighted = [group for group in self.window.groups if any(weights[name] for name in group.objectives)]
        for group in self.window.groups:
            batches = self.window.micro_batches(group)
            for m, batch in enumerate(batches):
                with torch.set_grad_enabled(group in weighted):
                    views = {stream: self.runtime.view(stream, part) for stream, part in batch.items()}
                    losses = {name: self._share_of_loss(name, views, m) for name in group.objectives}
                terms = [weights[name] * loss for name, loss in losses.items() if weights[name]]
                if terms:
                    last = group == weighted[-1] and m == len(batches) - 1
                    with nullcontext() if last else self.runtime.no_sync():
                        self.runtime.backward(torch.stack(terms).sum() * self.runtime.world_size, False)
                del views, losses, terms
        row = harvest(self.parameters)
        self.runtime.mask(row)
        restore(self.parameters, row)

    @torch.no_grad()
    def evaluate(self) -> None:
        """Store losses and progress at the current weights, without a graph."""
        for _, _, _, _ in self._losses_one_by_one(None):
            pass

    @torch.no_grad()
    def losses_alone(self) -> Tensor:
        """This rank's shares ``[K]`` fp64 of the mean losses at the current weights; nothing is stored."""
        totals: dict[str, Tensor] = {}
        for group, m, views, _ in self._forwards():
            for name in group.objectives:
                loss = self._loss(name, views, m).double()
                totals[name] = totals[name] + loss if name in totals else loss
            del views
        return torch.stack([totals[name].view(()) for name in self.window.objectives])

    def norm(self, row: Row) -> float:
        """Euclidean norm of a row over all of its shards; the same on every rank."""
        return self.products([row]).sqrt().item()

    def products(self, rows: Sequence[Row]) -> Tensor:
        """Products ``g_i^T g_j`` of R rows over all of their shards, ``[R, R]`` fp64; the same on every rank."""
        products = gramian(rows)
        if self.runtime.sharded:
            torch.distributed.all_reduce(products)
        return products

    @contextmanager
    def readings_kept(self) -> Iterator[None]:
        """Within the context objectives are run elsewhere; afterwards losses and progress are those of before."""
        losses, progress = dict(self.losses), dict(self.progress)
        yield
        self.losses.update(losses)
        self.progress.update(progress)

    def _losses_one_by_one(self, names: Sequence[str] | None) -> Iterator[tuple[str, bool, Tensor, bool]]:
        """Name, whether it is the last micro-batch, this rank's share ``[]`` of the loss, whether its graph is kept."""
        self._forget_losses(names)
        for group in self._groups(names):
            batches = self.window.micro_batches(group)
            for m, batch in enumerate(batches):
                views = {stream: self.runtime.view(stream, part) for stream, part in batch.items()}
                done = m == len(batches) - 1
                for name in group.objectives:
                    yield name, done, self._share_of_loss(name, views, m), name != group.objectives[-1]
                del views

    def _last_of(self, names: Sequence[str] | None) -> str:
        return self._groups(names)[-1].objectives[-1]

    def _groups(self, names: Sequence[str] | None) -> list[StreamGroup]:
        wanted = list(self.window.objectives) if names is None else list(names)
        return [group for group in (g.only(wanted) for g in self.window.groups) if group.objectives]

    def _forget_losses(self, names: Sequence[str] | None) -> None:
        for name in self.window.objectives if names is None else names:
            self.losses.pop(name, None)
            self.progress.pop(name, None)

    def _share_of_loss(self, name: str, views: Mapping[str, View], micro_batch: int) -> Tensor:
        objective = self.window.objectives[name]
        loss = self._loss(name, views, micro_batch)
        self._add_progress(name, [views[stream] for stream in objective.streams], micro_batch)
        self.losses[name] = self.losses.get(name, 0) + loss.detach().double()
        reduced = torch.is_grad_enabled() and not objective.reaches_all
        reached = self.runtime.reach_all() if reduced else None
        return loss if reached is None else loss + reached

    def _loss(self, name: str, views: Mapping[str, View], micro_batch: int) -> Tensor:
        objective = self.window.objectives[name]
        loss = checked_loss(name, objective, views)
        return loss * self.window.shares[name][micro_batch].to(loss.dtype)

    @torch.no_grad()
    def _add_progress(self, name: str, views: Sequence[View], micro_batch: int) -> None:
        objective, share = self.window.objectives[name], self.window.sequence_shares[name][micro_batch]
        values = [objective.progress(*views), objective.progress_kept(*views)]
        known = [torch.full_like(share, torch.nan) if value is None else value.double() * share for value in values]
        self.progress[name] = self.progress.get(name, 0) + torch.stack(known)
