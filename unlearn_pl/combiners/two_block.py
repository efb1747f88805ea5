"""Base class of two-block combiners: the forget gradient versus the retain gradient."""

from abc import abstractmethod
from typing import ClassVar, Unpack

import torch
from torch import Tensor

from unlearn_pl.combiners.gramian_combiner import STATIONARY, GramianCombiner
from unlearn_pl.combiners.options import CombinerOptions
from unlearn_pl.types import Role


class TwoBlockCombiner(GramianCombiner):
    """A rule on the forget gradient ``f`` and the retain gradient ``r``; subclasses implement :meth:`weigh_blocks`.

    ``f`` and ``r`` are the sums of the gradients of the active objectives of each role, all to be *descended*: where a
    paper ascends a loss on the forget set, ``f`` is minus its gradient. If only one role remains, because the other has
    no active objective or its gradients cancel, the step follows its sum.

    The papers act on raw gradients, so gradients are not normalized by default. With ``l2``, ``f`` and ``r`` are sums
    of unit gradients, and the step is scaled by the mean length of the gradients.

    Args:
        options: see :class:`CombinerOptions`; ``normalization`` is ``none`` by default.
    """

    needs_roles: ClassVar[frozenset[Role]] = frozenset({"forget", "retain"})

    def __init__(self, **options: Unpack[CombinerOptions]) -> None:
        options.setdefault("normalization", "none")
        super().__init__(**options)

    def weigh(self, gramian: Tensor, losses: Tensor) -> Tensor:
        """Weights ``[K]``: for each objective, that of its role."""
        forget = self.members_of("forget")
        blocks = torch.stack([forget, ~forget]).to(gramian.dtype)
        sums = blocks @ gramian @ blocks.T
        # A sum far shorter than its parts is rounding noise.
        parts = blocks @ gramian.diagonal().clamp(min=0.0).sqrt()
        present = sums.diagonal() > STATIONARY * parts**2
        if not present.all():
            return present.to(gramian.dtype) @ blocks
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
