"""The forget gradient where it does not oppose the retain gradient (SAGO)."""

from collections.abc import Sequence
from typing import Unpack

import torch
from torch import Tensor

from unlearn_pl.combiners.options import CombinerOptions
from unlearn_pl.combiners.row_combiner import RowCombiner
from unlearn_pl.types import Role


class SAGO(RowCombiner):
    """``alpha r_i`` where ``f_i r_i < 0``, ``gamma f_i`` elsewhere, for every element i.

    ``f`` is the sum of the gradients of role ``forget``, to be descended, ``r`` that of role ``retain``. No element of
    the step opposes the retain gradient, so to first order the sum of the retain losses never rises. A zero opposes
    nothing: where ``f`` is exactly 0 the step is 0, e.g. in embeddings of tokens that only occur in retain examples.

    A parameter that only one role reaches follows that role. If all objectives of one role are inactive, the sum of the
    others is followed, with weight 1.

    Args:
        alpha: weight of the retain gradient.
        gamma: weight of the forget gradient.
        options: see :class:`CombinerOptions`; ``normalization`` is ``none`` by default, as in the paper.

    Raises:
        ValueError: if a weight is not positive.

    Example:
        >>> rule = SAGO()
        >>> rule.setup(["forget", "retain"], ["forget", "retain"])
        >>> rule.merge([torch.tensor([3.0, -3.0, 3.0]), torch.tensor([1.0, 1.0, 0.0])])
        tensor([3., 1., 3.])

    References:
        Xiao et al., Modeling LLM Unlearning as an Asymmetric Two-Task Learning Problem (SAGO), ACL 2026,
        arXiv 2604.14808, as in the authors' code, where alpha and gamma are 1 by default (for SimNPO on WMDP-bio, alpha
        is 0.1).
    """

    needs_roles = frozenset({"forget", "retain"})

    def __init__(self, alpha: float = 1.0, gamma: float = 1.0, **options: Unpack[CombinerOptions]) -> None:
        options.setdefault("normalization", "none")
        super().__init__(**options)
        if not (alpha > 0 and gamma > 0):
            raise ValueError(f"alpha is {alpha} and gamma is {gamma}, but both must be positive.")
        self.alpha = alpha
        self.gamma = gamma

    def weigh(self, gramian: Tensor, losses: Tensor) -> Tensor:
        """``[K]``: ``gamma`` for forget gradients, ``alpha`` for retain gradients; 1 if only one role is active."""
        forget = self.members_of("forget")
        if forget.all() or not forget.any():
            return torch.ones_like(losses)
        return torch.full_like(losses, self.alpha).masked_fill(forget, self.gamma)

    def merge(self, gradients: Sequence[Tensor | None]) -> Tensor | None:
        """``[...]``: the retain sum where the two sums have opposite signs, else the forget sum; written in place."""
        forget, retain = self._sum(gradients, "forget"), self._sum(gradients, "retain")
        if forget is None or retain is None:
            return retain if forget is None else forget
        opposite = ((forget > 0) & (retain < 0)) | ((forget < 0) & (retain > 0))
        return torch.where(opposite, retain, forget, out=forget)

    def _sum(self, gradients: Sequence[Tensor | None], role: Role) -> Tensor | None:
        total: Tensor | None = None
        for gradient, its_role in zip(gradients, self._roles, strict=True):
            if gradient is not None and its_role == role:
                total = gradient if total is None else total.add_(gradient)
        return total
