"""Random directions through all trained weights."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor

from unlearn_pl.gradients.rows import local, shard_of
from unlearn_pl.gradients.zeroth_order.directions import CHUNK, Directions
from unlearn_pl.gradients.zeroth_order.pieces import Piece, dtype_of
from unlearn_pl.gradients.zeroth_order.probes import Probes


class RandomProbes(Probes):
    """Directions drawn again from their seeds whenever they are needed.

    Takes a copy of the trained weights while they move: undoing a shift by the opposite one rounds, by 12 % after 1,000
    directions in bfloat16.

    Args:
        pieces: the trained elements.
        directions: distribution of the directions.
        count: Q.
        mu: distance along a direction.
        key: seed and step.
    """

    def __init__(self, pieces: Sequence[Piece], directions: Directions, count: int, mu: float, key: str) -> None:
        self.count = count
        self.scale = 1 / count
        self._pieces = pieces
        self._directions = directions
        self._mu = mu
        self._key = key
        self._dtype = dtype_of([piece.parameter for piece in pieces])
        self._originals: list[Tensor] = []

    @contextmanager
    def moving(self) -> Iterator[None]:
        """See :meth:`Probes.moving`."""
        self._originals = [piece.read() for piece in self._pieces]
        try:
            yield
        finally:
            for piece, original in zip(self._pieces, self._originals, strict=True):
                piece.write(0, original)
            self._originals = []

    def move(self, q: int, sign: int) -> None:
        """See :meth:`Probes.move`."""
        for piece, original in zip(self._pieces, self._originals, strict=True):
            start = 0
            for numbers in self._numbers(piece, q):
                end = start + len(numbers)
                piece.write(start, numbers.mul_(sign * self._mu).add_(original[start:end]))
                start = end

    @property
    def widths(self) -> Tensor:
        """See :meth:`Probes.widths`."""
        return torch.full([self.count], 2 * self._mu, dtype=torch.float64)

    def leave(self, coefficients: Tensor) -> None:
        """See :meth:`Probes.leave`."""
        wanted = [(q, c) for q, c in enumerate(coefficients.tolist()) if c != 0]
        for piece in self._pieces:
            gradient = torch.zeros_like(local(piece.parameter.detach()))
            target = Piece(piece.name, gradient, piece.kept)  # type: ignore[arg-type]  # written like a parameter
            for start, total in self._sums(piece, wanted):
                target.write(start, total)
            piece.parameter.grad = shard_of(piece.parameter, gradient)

    def _sums(self, piece: Piece, wanted: Sequence[tuple[int, float]]) -> Iterator[tuple[int, Tensor]]:
        """Start and values of each part of ``sum_q c_q u_q``."""
        streams = [self._numbers(piece, q) for q, _ in wanted]
        for i, parts in enumerate(zip(*streams, strict=True)):
            total = torch.zeros_like(parts[0])
            for numbers, (_, coefficient) in zip(parts, wanted, strict=True):
                total.add_(numbers, alpha=coefficient)
            yield i * CHUNK, total

    def _numbers(self, piece: Piece, q: int) -> Iterator[Tensor]:
        key = f"{self._key}/{q}/{piece.name}/{piece.shard}"
        return self._directions.numbers(key, piece.size, self._dtype, piece.parameter.device)
