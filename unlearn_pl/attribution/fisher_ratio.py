"""Ratio of forget and retain Fisher information (LoKU)."""

from typing import ClassVar, Unpack

from torch import Tensor

from unlearn_pl.attribution.base import Attribution, AttributionOptions
from unlearn_pl.attribution.measured import Measured, Need


class FisherRatio(Attribution):
    """``S = F_f / (F_r + eps)``: information about the forget data, for each unit of that about the retain data.

    ``F`` is the empirical Fisher information: the mean, over the optimizer steps, of the squared gradient of the
    cross-entropy. A step with more examples gives smaller squares, so scores depend on ``batch_size``.

    Args:
        keep: share of the weights that stay trainable, in (0, 1]; adapters are begun with all of them.
        eps: added to the retain information. The authors' 1e-5 is large beside the squared gradients of most models
            (1e-8 and less), so that the retain data hardly matter; a smaller value lets them count.
        options: see :class:`AttributionOptions`.

    Raises:
        ValueError: if an argument is out of range.

    References:
        Cha et al., Towards Robust and Parameter-Efficient Knowledge Unlearning for LLMs (LoKU), ICLR 2025,
        arXiv 2408.06621: the importance of weights in its initialization of adapters (FILA).
    """

    needs: ClassVar[frozenset[Need]] = frozenset({"forget", "retain"})
    squares: ClassVar[bool] = True

    def __init__(self, keep: float = 1.0, eps: float = 1e-5, **options: Unpack[AttributionOptions]) -> None:
        super().__init__(keep, **options)
        if not 0 < eps < float("inf"):
            raise ValueError(f"eps is {eps}; accepted: a positive number.")
        self.eps = eps

    def score(self, parameter: Measured) -> Tensor:
        """``F_f / (F_r + eps)``, ``[...]``."""
        return parameter.gradient("forget") / (parameter.gradient("retain") + self.eps)
