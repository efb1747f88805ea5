"""SNIP: weights whose removal changes the forget loss."""

from typing import ClassVar

from torch import Tensor

from unlearn_pl.attribution.base import Attribution
from unlearn_pl.attribution.measured import Measured, Need, exact


class SNIP(Attribution):
    """``S = theta * g_f``: to first order, the decrease of the forget loss when a weight is set to 0.

    For the arguments, see :class:`Attribution`.

    References:
        Lee et al., SNIP: Single-shot Network Pruning based on Connection Sensitivity, arXiv 1810.02340. There, of the
        training loss at initialization; here, of the forget loss.
    """

    needs: ClassVar[frozenset[Need]] = frozenset({"forget"})

    def score(self, parameter: Measured) -> Tensor:
        """``theta * g_f``, ``[...]``."""
        return exact(parameter.weight) * parameter.gradient("forget")
