"""SalUn's mask: weights with a large gradient on the forget data."""

from typing import ClassVar

from torch import Tensor

from unlearn_pl.attribution.base import Attribution
from unlearn_pl.attribution.measured import Measured, Need


class SalUn(Attribution):
    """``S = g_f``, ranked by absolute value: the gradient of the forget loss.

    For the arguments, see :class:`Attribution`.

    References:
        Fan et al., SalUn: Empowering Machine Unlearning via Gradient-based Weight Saliency, arXiv 2310.12508: its
        mask. The random labels of its training are a matter of the objective.
    """

    needs: ClassVar[frozenset[Need]] = frozenset({"forget"})

    def score(self, parameter: Measured) -> Tensor:
        """``g_f [...]``."""
        return parameter.gradient("forget")
