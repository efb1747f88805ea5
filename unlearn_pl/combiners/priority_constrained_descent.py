"""The closest direction to a primary gradient that makes some progress on all the others (PCD)."""

from collections.abc import Sequence
from typing import ClassVar, Unpack

import torch
from torch import Tensor

from unlearn_pl.combiners.gramian_combiner import STATIONARY, GramianCombiner
from unlearn_pl.combiners.options import CombinerOptions
from unlearn_pl.functional import dual_cone_projection
from unlearn_pl.types import Role


class PriorityConstrainedDescent(GramianCombiner):
    """``argmin_d |d - g_1|^2`` subject to ``g_j . d >= tau |g_j|^2`` for all others, rescaled to the primary's length.

    The gradients are those divided by their ``n_k``, by default the root of a slow average of their squared norms. The
    step follows the primary objective as closely as possible while every other one makes at least the share ``tau`` of
    the progress of a step along its own gradient. A block of parameters without such a direction is not updated.

    With several retain objectives as the primary, ``g_1`` is the mean of their normalized gradients, and the length
    that of the sum of the raw ones. If no primary objective is active, the sum of the others is followed.

    Args:
        primary: name of the primary objective; None for those of role ``retain``.
        margin: ``tau`` in ``[0, 1]``.
        options: see :class:`CombinerOptions`; ``normalization`` is ``ema`` and ``norm_decay`` 0.999 by default.

    Raises:
        ValueError: if ``margin`` is outside ``[0, 1]``.

    References:
        Varam & AlHajri, Not all objectives are born equal: Priority-constrained descent for hierarchical
        multi-objective optimization, TMLR 2026, arXiv 2606.29521. It adds 1e-8 to the average of the squared norms,
        which is omitted here.
    """

    min_objectives: ClassVar[int] = 2

    def __init__(self, primary: str | None = None, margin: float = 0.02, **options: Unpack[CombinerOptions]) -> None:
        options.setdefault("normalization", "ema")
        options.setdefault("norm_decay", 0.999)
        super().__init__(**options)
        if not 0 <= margin <= 1:
            raise ValueError(f"margin is {margin}, but must be in [0, 1].")
        self.primary = primary
        self.margin = margin

    def setup(self, names: Sequence[str], roles: Sequence[Role], zero_at_start: Sequence[bool] = ()) -> None:
        """See :meth:`Combiner.setup`; also raises ``ValueError`` without a primary objective or without others."""
        super().setup(names, roles, zero_at_start)
        if self.primary is not None and self.primary not in names:
            raise ValueError(f"primary is {self.primary!r}, but the objectives are {list(names)}.")
        if self.primary is None and set(roles) != {"forget", "retain"}:
            raise ValueError(
                "PriorityConstrainedDescent needs objectives of both roles, or the name of its primary objective, but "
                f"the objectives have the roles {dict(zip(names, roles, strict=True))}."
            )
        first = [role == "retain" for role in roles] if self.primary is None else [n == self.primary for n in names]
        self._primary = torch.tensor(first)

    def weigh(self, gramian: Tensor, losses: Tensor) -> Tensor:
        """Weights ``[K]`` of the projection of the primary gradient on the directions that meet the margins."""
        primary = self._primary[self.members]
        if not primary.any() or primary.all():
            return torch.ones_like(losses)
        margins = (self.margin * gramian.diagonal()).masked_fill(primary, -torch.inf)
        return dual_cone_projection(gramian, primary / primary.sum(), margins)

    def _weigh_block(self, gramian: Tensor, losses: Tensor, scales: Tensor) -> Tensor:
        weights = super()._weigh_block(gramian, losses, scales)
        primary = self._primary[self.members].to(torch.float64)
        if not primary.any():
            return weights
        square = weights @ gramian @ weights
        parts = weights.abs() @ gramian.diagonal().sqrt()
        if square <= STATIONARY * parts**2:
            return torch.zeros_like(weights)
        return weights * (primary @ gramian @ primary).clamp(min=0.0).sqrt() / square.sqrt()
