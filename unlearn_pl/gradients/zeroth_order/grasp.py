"""Coordinates that are divided over the parameters by their effect on the gradient."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.distributed.tensor import DTensor

from unlearn_pl.gradients.replay import Replay
from unlearn_pl.gradients.rows import harvest
from unlearn_pl.gradients.zeroth_order.coordinates import RandomCoordinates, shared_out
from unlearn_pl.gradients.zeroth_order.directions import GaussianDirections
from unlearn_pl.gradients.zeroth_order.pieces import Piece, pieces_of
from unlearn_pl.gradients.zeroth_order.random_probes import RandomProbes
from unlearn_pl.gradients.zeroth_order.slopes import measured_slopes


class GraspCoordinates(RandomCoordinates):
    """Random coordinates in every parameter, as many as it has weights with one of the largest ``theta_i (H g)_i``.

    ``g`` and ``H`` are gradient and Hessian of the sum of the losses: GraSP keeps the weights whose removal would
    shorten the gradient most. Both are estimated once, at the first step, from Q random directions at the weights and
    at weights that are moved along ``g``, which takes ``4 Q + 2`` forward passes. Only the number of coordinates per
    parameter follows from the scores, as in DeepZero.

    Args:
        count: number of coordinates, at most that of the trained elements.
        redraw_every: optimizer steps after which they are drawn again, in the same numbers.
        seed: random seed.
        queries: Q.
        mu: distance along a direction, and along ``g``.

    Raises:
        ValueError: if an argument is not positive; during training, if parameters are sharded (FSDP2).

    References:
        Zhang et al., DeepZero, ICLR 2024, arXiv 2310.02025, section 4 (ZO-GraSP); Wang et al., Picking Winning Tickets
        Before Training by Preserving Gradient Flow, ICLR 2020, arXiv 2002.07376, equation 8.
    """

    def __init__(
        self, count: int = 256, redraw_every: int = 50, seed: int = 0, queries: int = 192, mu: float = 1e-3
    ) -> None:
        super().__init__(count, redraw_every, seed)
        if queries < 1 or not mu > 0:
            raise ValueError(f"queries is {queries} and mu {mu}; accepted: positive numbers.")
        self.queries = queries
        self.mu = mu
        self._counts: dict[str, int] = {}

    def counts(self, sizes: Mapping[str, int], replay: Replay) -> dict[str, int]:
        """Coordinates per parameter, measured once."""
        if self._counts.keys() != sizes.keys():
            self._counts = self._measured(sizes, replay)
        return self._counts

    def reset(self) -> None:
        """Discard the numbers: the next step measures them."""
        self._counts = {}

    def state_dict(self) -> dict[str, Any]:
        """The numbers of coordinates."""
        return {"counts": dict(self._counts)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Resume from ``state``."""
        self._counts = dict(state["counts"])

    def _measured(self, sizes: Mapping[str, int], replay: Replay) -> dict[str, int]:
        if any(isinstance(parameter, DTensor) for parameter in replay.parameters):
            raise ValueError(
                "GraspCoordinates compares the scores of all weights, but the parameters are sharded (FSDP2). Accepted "
                "with it: RandomCoordinates()."
            )
        pieces = pieces_of(replay.runtime)
        here = self._gradient(replay, pieces)
        length = torch.stack([part.double().square().sum() for part in here]).sum().sqrt().item()
        distance = self.mu / length if length > 0 else 0.0
        with _moved(pieces, here, distance):
            there = self._gradient(replay, pieces)
        parts = [(piece.read() * (b - a)).cpu() for piece, a, b in zip(pieces, here, there, strict=True)]
        best = torch.cat(parts).topk(min(self.count, sum(sizes.values()))).indices
        ends = torch.tensor([len(part) for part in parts]).cumsum(0)
        found = torch.bincount(torch.bucketize(best, ends, right=True), minlength=len(parts)).tolist()
        return shared_out(self.count, dict(zip(sizes, found, strict=True)), sizes)

    def _gradient(self, replay: Replay, pieces: Sequence[Piece]) -> list[Tensor]:
        """The estimated gradient of the sum of the losses, of the trained elements of each parameter."""
        probes = RandomProbes(pieces, GaussianDirections(), self.queries, self.mu, f"{self.seed}/scores")
        slopes = measured_slopes(replay, probes).sum(dim=0)
        if replay.runtime.world_size > 1:
            torch.distributed.all_reduce(slopes)
        probes.leave(probes.scale * slopes.cpu())
        row = harvest(replay.parameters)
        return [
            Piece(piece.name, g, piece.kept).read()  # type: ignore[arg-type]  # read like a parameter
            for piece, g in zip(pieces, row, strict=True)
        ]


@contextmanager
def _moved(pieces: Sequence[Piece], direction: Sequence[Tensor], distance: float) -> Iterator[None]:
    """Weights at ``theta + distance * direction``; afterwards at ``theta``, bit for bit."""
    originals = [piece.read() for piece in pieces]
    try:
        for piece, original, along in zip(pieces, originals, direction, strict=True):
            piece.write(0, original + distance * along)
        yield
    finally:
        for piece, original in zip(pieces, originals, strict=True):
            piece.write(0, original)
