"""Weight magnitude: a baseline without data."""

from torch import Tensor

from unlearn_pl.attribution.base import Attribution
from unlearn_pl.attribution.measured import Measured


class Magnitude(Attribution):
    """``S = theta``, ranked by absolute value. For the arguments, see :class:`Attribution`."""

    def score(self, parameter: Measured) -> Tensor:
        """``theta [...]``."""
        return parameter.weight
