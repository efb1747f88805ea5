"""The part of the forget gradient that touches no retain objective (FedOSD)."""

from typing import ClassVar, Unpack

import torch
from torch import Tensor

from unlearn_pl.combiners.gramian_combiner import STATIONARY, GramianCombiner
from unlearn_pl.combiners.options import CombinerOptions
from unlearn_pl.types import Role

DEPENDENT = 1e-12
"""Eigenvalues of the retain gradients' cosines below this fraction of the largest count as 0."""


class FedOSD(GramianCombiner):
    """``(I - A^+ A) f``, rescaled to ``|f|``; the rows of ``A`` are the gradients of all retain objectives.

    The step changes no retain objective to first order, and descends the forget loss. When ``f`` lies in the span of
    the retain gradients there is no such step: all weights are 0, and it is skipped. Retaining has no pull of its own.
    If objectives of one role are left, their sum is followed.

    Args:
        options: see :class:`CombinerOptions`; ``normalization`` is ``none`` by default.

    References:
        Pan et al., Federated unlearning with gradient descent and conflict mitigation, AAAI 2025, arXiv 2412.20200: its
        orthogonal steepest descent, where each client has a retain gradient and ``f`` is that of the unlearning
        cross-entropy. The recovery phase, which takes over once everything is forgotten, is left out.
    """

    needs_roles: ClassVar[frozenset[Role]] = frozenset({"forget", "retain"})

    def __init__(self, **options: Unpack[CombinerOptions]) -> None:
        options.setdefault("normalization", "none")
        super().__init__(**options)

    def weigh(self, gramian: Tensor, losses: Tensor) -> Tensor:
        """1 for the forget objectives, and what removes ``f`` from the span of the others for these; rescaled."""
        forget = self.members_of("forget")
        weights = forget.to(torch.float64)
        if forget.all() or not forget.any():
            return torch.ones_like(weights)
        square = weights @ gramian @ weights
        weights[~forget] = -_coordinates(gramian[~forget][:, ~forget], (gramian @ weights)[~forget])
        rest = weights @ gramian @ weights
        if rest <= STATIONARY * gramian.diagonal()[forget].sum():
            return torch.zeros_like(weights)
        return weights * (square / rest).sqrt()


def _coordinates(gramian: Tensor, products: Tensor) -> Tensor:
    """Coordinates, in terms of the rows of ``A``, of the projection of ``f`` on their span: ``(A A^T)^+ A f``."""
    norms = gramian.diagonal().sqrt()
    inverse = torch.linalg.pinv(gramian / norms.outer(norms), rtol=DEPENDENT, hermitian=True)
    return inverse @ (products / norms) / norms
