"""The step that retains most among those that forget enough (HAMU)."""

from math import sqrt
from typing import Unpack

from unlearn_pl.combiners.gramian_combiner import STATIONARY
from unlearn_pl.combiners.options import CombinerOptions
from unlearn_pl.combiners.two_block import TwoBlockCombiner


class HAMU(TwoBlockCombiner):
    """``argmax_d r . d`` subject to ``f . d >= beta |r| |f|`` and ``|d| <= |r|``.

    Every step forgets at least the share ``beta`` of what a step of length ``|r|`` could forget at most, and retains
    as much as possible under that constraint. If ``r`` itself forgets enough, ``cos(f, r) >= beta``, then ``d = r``;
    else ``d = beta |r| f / |f| + sqrt(1 - beta^2) |r| r' / |r'|`` with ``r' = r - (r . f) / |f|^2 f``. The
    retain loss increases where ``cos(f, r) < -sqrt(1 - beta^2)``: this is then unavoidable. If the gradients are
    parallel, there is no ``r'``, and only the first term remains.

    Args:
        forget_share: ``beta`` in ``[0, 1]``: 0 only keeps the forget loss from increasing, 1 follows ``f``.
        options: see :class:`CombinerOptions`; ``normalization`` is ``none`` by default.

    Raises:
        ValueError: if ``forget_share`` is outside ``[0, 1]``.

    References:
        Chen et al., How hard can it be? Hardness-aware multi-objective unlearning, ICML 2026, arXiv 2606.02119: its
        HAMU-Q in closed form, where ``-f`` is the gradient of the loss on the forget set. A step of length ``lr |r|``
        and the default of 0.5 are those of the authors' scripts. The bound as a share of what is possible is our
        reading, which makes it feasible at any scale; the scripts distribute an absolute bound over the tensors, in
        proportion to ``|r| |f|`` of each. HAMU-U and the stopping criterion are omitted.
    """

    def __init__(self, forget_share: float = 0.5, **options: Unpack[CombinerOptions]) -> None:
        super().__init__(**options)
        if not 0 <= forget_share <= 1:
            raise ValueError(f"forget_share is {forget_share}, but must be in [0, 1].")
        self.forget_share = forget_share

    def weigh_blocks(self, ff: float, rr: float, fr: float) -> tuple[float, float]:
        """``r``, or the point where the bound on forgetting meets the sphere."""
        share, cosine = self.forget_share, fr / sqrt(ff) / sqrt(rr)
        if cosine >= share:
            return 0.0, 1.0
        forget, sine_squared = share * sqrt(rr / ff), 1 - cosine**2
        if sine_squared <= STATIONARY:
            return forget, 0.0
        retain = sqrt((1 - share**2) / sine_squared)
        return forget - retain * fr / ff, retain
