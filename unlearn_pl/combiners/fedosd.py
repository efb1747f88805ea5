"""The component of the forget gradient that changes no retain objective (FedOSD)."""

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

    The step changes no retain objective to first order, and descends the forget loss. If ``f`` lies in the span of the
    retain gradients, there is no such step: all weights are 0, and it is skipped. The retain losses are not descended.
    If only one role is active, the sum of its gradients is followed.

    Args:
        options: see :class:`CombinerOptions`; ``normalization`` is ``none`` by default.

    References:
        Pan et al., Federated unlearning with gradient descent and conflict mitigation, AAAI 2025, arXiv 2412.20200: its
        orthogonal steepest descent, where each client has a retain gradient and ``f`` is that of the unlearning
        cross-entropy. The recovery phase, which follows once everything is forgotten, is omitted.
    """

    needs_roles: ClassVar[frozenset[Role]] = frozenset({"forget", "retain"})

    def __init__(self, **options: Unpack[CombinerOptions]) -> None:
        options.setdefault("normalization", "none")
        super().__init__(**options)

    def weigh(self, gramian: Tensor, losses: Tensor) -> Tensor:
        """``[K]``: 1 for forget objectives, the coefficients that project ``f`` for the others; rescaled."""
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
    """Coordinates in the rows of ``A`` of the projection of ``f`` on their span: ``(A A^T)^+ A f``, ``[k]``."""
    norms = gramian.diagonal().sqrt()
    inverse = torch.linalg.pinv(gramian / norms.outer(norms), rtol=DEPENDENT, hermitian=True)
    return inverse @ (products / norms) / norms
