"""The forget gradient without its conflict with the retain gradient (GRU)."""

from typing import Unpack

from unlearn_pl.combiners.options import CombinerOptions
from unlearn_pl.combiners.two_block import TwoBlockCombiner


class GRU(TwoBlockCombiner):
    """``f - min(f . r, 0) / |r|^2 r``: the forget gradient, rectified where it would increase the retain loss.

    The step is the closest one to ``f`` that does not increase the retain loss, and descends the forget loss unless the
    two gradients are opposite. The retain loss itself is not descended unless ``retain_weight`` is positive.

    Args:
        retain_weight: multiple of ``r`` that is added to the rectified gradient, which is the authors' variant
            ``gru+ce`` with this ``ce_coeff``; 0 in the paper's main variant.
        options: see :class:`CombinerOptions`; ``normalization`` is ``none`` by default.

    Raises:
        ValueError: if ``retain_weight`` is negative.

    References:
        Wang et al., GRU: Mitigating the trade-off between unlearning and retention for LLMs, ICML 2025,
        arXiv 2503.09117. The paper projects on a moving average of the retain gradient; the Gramian of this
        step's gradients cannot express that, so this step's retain gradient is used. The authors' code
        can also clip the cosine of the two gradients at -0.5 (``cos_clip``, off by default); that is omitted.
    """

    def __init__(self, retain_weight: float = 0.0, **options: Unpack[CombinerOptions]) -> None:
        super().__init__(**options)
        if not retain_weight >= 0:
            raise ValueError(f"retain_weight is {retain_weight}, but must not be negative.")
        self.retain_weight = retain_weight

    def weigh_blocks(self, ff: float, rr: float, fr: float) -> tuple[float, float]:
        """Weight 1 of ``f``, and the multiple of ``r`` that removes the conflict."""
        return 1.0, max(0.0, -fr / rr) + self.retain_weight
