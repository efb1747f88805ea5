"""What a rule on two gradients is: what is to be forgotten against what is to be kept."""

from abc import abstractmethod
from typing import ClassVar, Unpack

import torch
from torch import Tensor

from unlearn_pl.combiners.gramian_combiner import STATIONARY, GramianCombiner
from unlearn_pl.combiners.options import CombinerOptions
from unlearn_pl.types import Role


class TwoBlockCombiner(GramianCombiner):
    """A rule on the forget gradient ``f`` and the retain gradient ``r``; a subclass writes :meth:`weigh_blocks`.

    ``f`` and ``r`` are the sums of the gradients of the objectives of each role that take part, all to be *descended*:
    where a paper ascends a loss on the forget set, ``f`` is minus its gradient. If one role is left, because nobody of
    the other takes part or its gradients cancel, its sum is followed.

    The papers act on raw gradients, so that nothing is normalised by default. With ``l2``, ``f`` and ``r`` are sums of
    unit gradients, and the step has the mean length of the gradients as its unit.

    Args:
        options: see :class:`CombinerOptions`; ``normalization`` is ``none`` by default.
    """

    needs_roles: ClassVar[frozenset[Role]] = frozenset({"forget", "retain"})

    def __init__(self, **options: Unpack[CombinerOptions]) -> None:
        options.setdefault("normalization", "none")
        super().__init__(**options)

    def weigh(self, gramian: Tensor, losses: Tensor) -> Tensor:
        """The weight of each member's block."""
        forget = self.members_of("forget")
        blocks = torch.stack([forget, ~forget]).to(gramian.dtype)
        sums = blocks @ gramian @ blocks.T
        # A sum far shorter than its parts is rounding noise.
        parts = blocks @ gramian.diagonal().clamp(min=0.0).sqrt()
        there = sums.diagonal() > STATIONARY * parts**2
        if not there.all():
            return there.to(gramian.dtype) @ blocks
        ff, rr, fr = sums[0, 0].item(), sums[1, 1].item(), sums[0, 1].item()
        return torch.tensor(self.weigh_blocks(ff, rr, fr), dtype=torch.float64) @ blocks

    @abstractmethod
    def weigh_blocks(self, ff: float, rr: float, fr: float) -> tuple[float, float]:
        """``(w_f, w_r)`` such that the step follows ``w_f f + w_r r``.

        Args:
            ff: ``|f|^2 > 0``.
            rr: ``|r|^2 > 0``.
            fr: ``f . r``, negative when the two conflict.
        """
