"""The sum of the unit forget and the unit retain gradient (NGDiff)."""

from math import sqrt

from unlearn_pl.combiners.two_block import TwoBlockCombiner


class NGDiff(TwoBlockCombiner):
    """``f / |f| + r / |r|``: both roles count equally, regardless of the scale of their losses.

    The step descends both unless ``f`` and ``r`` are opposite: ``d . f / |f| = d . r / |r| = 1 + cos(f, r)``. It does
    not shrink with the gradients: its length is ``sqrt(2 + 2 cos(f, r))``, up to 2, so clipping at 1 almost always
    applies. With ``normalization="l2"`` and one objective of each role, the step has the mean length of the gradients
    instead.

    Args:
        options: see :class:`CombinerOptions`; ``normalization`` is ``none`` by default.

    References:
        Bu et al., Unlearning as multi-task optimization: a normalized gradient difference approach with an adaptive
        learning rate, NAACL 2025, arXiv 2410.22086, where ``-f`` is the gradient of the loss on the forget set. Its
        automatic learning rate (GeN), which needs further forward passes, is omitted: set the learning rate yourself.
    """

    def weigh_blocks(self, ff: float, rr: float, fr: float) -> tuple[float, float]:
        """The inverse norms."""
        return 1 / sqrt(ff), 1 / sqrt(rr)
