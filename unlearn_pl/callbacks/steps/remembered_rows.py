"""The gradients of the last steps, sharded as the weights are, and whole in checkpoints."""

from collections import deque
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from unlearn_pl.gradients import Row
from unlearn_pl.masks.placement import gathered, placed_like


class RememberedRows:
    """A queue of gradient rows: a new one takes the place of the oldest.

    Args:
        size: number of rows; 0 for none.
    """

    def __init__(self, size: int) -> None:
        self._rows: deque[Row] = deque(maxlen=size)

    @property
    def rows(self) -> list[Row]:
        """The rows, the oldest first."""
        return list(self._rows)

    def add(self, rows: Sequence[Row]) -> None:
        """Remember ``rows``, which no one else changes from now on."""
        self._rows.extend(rows)

    def state(self) -> list[list[Tensor | None]]:
        """The rows, whole and on the CPU of the first rank; empty on the others. Collective if they are sharded."""
        whole = [[None if g is None else gathered(g).cpu() for g in row] for row in self._rows]
        return whole if not _rank() else []

    def load(self, rows: Sequence[list[Tensor | None]]) -> None:
        """Remember ``rows``, whole; :meth:`place` moves them to where the weights are."""
        self._rows.clear()
        self._rows.extend(list(row) for row in rows)

    def place(self, parameters: Sequence[nn.Parameter]) -> None:
        """Move and shard the rows as ``parameters`` are.

        Raises:
            ValueError: if they are rows of other parameters.
        """
        for row in self._rows:
            shapes = [None if g is None else g.shape for g in row]
            if len(row) != len(parameters) or any(
                shape not in (None, p.shape) for shape, p in zip(shapes, parameters, strict=True)
            ):
                raise ValueError(
                    "StepProjection: the checkpoint has gradients of other weights than those that are trained now. "
                    "Resume with the same mask and adapters, or start a new run."
                )
            row[:] = [None if g is None else placed_like(g, p) for g, p in zip(row, parameters, strict=True)]


def _rank() -> int:
    return torch.distributed.get_rank() if torch.distributed.is_initialized() else 0
