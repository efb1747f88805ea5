"""Single weights as directions."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor
from torch.distributed.tensor import DTensor

from unlearn_pl.gradients.rows import local, shard_of
from unlearn_pl.gradients.zeroth_order.pieces import Piece, flat
from unlearn_pl.gradients.zeroth_order.probes import Probes
from unlearn_pl.gradients.zeroth_order.shards import places


class CoordinateProbes(Probes):
    """The unit vectors of some of the weights.

    Nothing but these weights is copied. Slopes are divided by the distances that the weights really move.

    Args:
        pieces: this rank's trained elements.
        chosen: name of a parameter to ``[n]``, numbers of trained elements over all shards.
        mu: distance along a coordinate.

    Raises:
        ValueError: if ``mu`` is lost in the rounding of a weight.
    """

    def __init__(self, pieces: Sequence[Piece], chosen: Mapping[str, Tensor], mu: float) -> None:
        self._pieces = [_Coordinates(piece, chosen[piece.name], mu) for piece in pieces]
        self._owners = [(piece, i) for piece in self._pieces for i in range(piece.count)]
        self.count = len(self._owners)
        self._moved: tuple[_Coordinates, int] | None = None
        self._widths = torch.cat([piece.widths for piece in self._pieces])
        if any(isinstance(piece.parameter, DTensor) for piece in pieces):  # one rank knows each of them
            torch.distributed.all_reduce(self._widths)
        self._widths = self._widths.cpu()
        if (self._widths <= 0).any():
            raise ValueError(
                f"mu={mu:g} is lost in the rounding of {int((self._widths <= 0).sum())} of {self.count} weights of the "
                f"dtypes {sorted({str(piece.parameter.dtype) for piece in pieces})}. Use a larger mu, or train weights "
                "in fp32."
            )

    @contextmanager
    def moving(self) -> Iterator[None]:
        """See :meth:`Probes.moving`."""
        try:
            yield
        finally:
            self._put_back()

    def move(self, q: int, sign: int) -> None:
        """See :meth:`Probes.move`."""
        self._put_back()
        self._moved = self._owners[q]
        piece, i = self._moved
        piece.set(i, sign)

    @property
    def widths(self) -> Tensor:
        """See :meth:`Probes.widths`."""
        return self._widths

    def leave(self, coefficients: Tensor) -> None:
        """See :meth:`Probes.leave`."""
        parts = coefficients.split([piece.count for piece in self._pieces])
        for piece, part in zip(self._pieces, parts, strict=True):
            piece.leave(part)

    def _put_back(self) -> None:
        if self._moved is not None:
            piece, i = self._moved
            piece.set(i, 0)
            self._moved = None


class _Coordinates:
    """The coordinates of one parameter, and those of them that this rank holds."""

    def __init__(self, piece: Piece, numbers: Tensor, mu: float) -> None:
        self.count = len(numbers)
        self._piece = piece
        self._places, self._held = places(piece, numbers)
        self._place_of = {i: place for place, i in enumerate(self._held.tolist())}
        origin = piece.weights[self._places]
        moved = origin.to(torch.promote_types(origin.dtype, torch.float32))
        self._values = {0: origin, 1: (moved + mu).to(origin.dtype), -1: (moved - mu).to(origin.dtype)}

    @property
    def widths(self) -> Tensor:
        """``[count]`` fp64, 0 for coordinates that other ranks hold."""
        widths = torch.zeros(self.count, dtype=torch.float64, device=self._places.device)
        widths[self._held] = self._values[1].double() - self._values[-1].double()
        return widths

    def set(self, i: int, sign: int) -> None:
        """Set coordinate ``i``, if this rank holds it, to ``sign mu`` from its origin; 0 is the origin, bit for bit."""
        if (place := self._place_of.get(i)) is not None:
            self._piece.weights[self._places[place]] = self._values[sign][place]

    def leave(self, coefficients: Tensor) -> None:
        """Write the coefficients ``[count]`` into ``.grad``."""
        parameter = self._piece.parameter
        gradient = torch.zeros_like(local(parameter.detach()))
        own = coefficients.to(parameter.device)[self._held]
        flat(gradient, self._piece.name)[self._places] = own.to(gradient.dtype)
        parameter.grad = shard_of(parameter, gradient)
