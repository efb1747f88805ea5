"""The forget gradient, and the component of the retain gradient orthogonal to it (BLUR)."""

from typing import Unpack

from unlearn_pl.combiners.options import CombinerOptions
from unlearn_pl.combiners.two_block import TwoBlockCombiner


class BLUR(TwoBlockCombiner):
    """``gamma f + (r - (r . f) / |f|^2 f)``: forgetting comes first, retaining uses what is orthogonal to it.

    The step always descends the forget loss, by ``gamma |f|^2``, however large ``r`` is; where the gradients conflict,
    it may increase the retain loss. The projection also applies without a conflict: it then removes the part of ``r``
    that would help to forget.

    Args:
        gamma: positive weight of the forget gradient.
        options: see :class:`CombinerOptions`; ``normalization`` is ``none`` by default.

    Raises:
        ValueError: if ``gamma`` is not positive.

    References:
        Reisizadeh et al., BLUR: A bi-level optimization approach for LLM unlearning, EACL 2026, arXiv 2506.08164. The
        authors' code for MUSE is followed, with its default ``gamma = 1``; the code for WMDP weights the second
        term by 1200 instead, which is ``gamma = 1 / 1200`` apart from the length of the step.
    """

    def __init__(self, gamma: float = 1.0, **options: Unpack[CombinerOptions]) -> None:
        super().__init__(**options)
        if not gamma > 0:
            raise ValueError(f"gamma is {gamma}, but must be positive.")
        self.gamma = gamma

    def weigh_blocks(self, ff: float, rr: float, fr: float) -> tuple[float, float]:
        """Weight 1 of ``r``, and ``gamma`` for ``f`` minus its component in ``r``."""
        return self.gamma - fr / ff, 1.0
