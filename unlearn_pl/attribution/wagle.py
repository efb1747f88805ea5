"""WAGLE: influence of weights on the forget loss, corrected by the retain loss."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import ClassVar, Literal, Unpack

import torch
from torch import Tensor, distributed

from unlearn_pl.attribution.base import Attribution, AttributionOptions
from unlearn_pl.attribution.measured import Measured, Need, exact
from unlearn_pl.functional.ranking import kth_largest


class WAGLE(Attribution):
    """``S = (theta - g_r / gamma) * g_f``, ranked by absolute value.

    ``S_i`` is the decrease of the forget loss, to first order, when weight i is set to 0 and the other weights then
    adapt to the retain data; ``g_f`` and ``g_r`` are the mean gradients of the cross-entropy on forget and retain data.
    ``gamma`` is the strength of the ridge penalty in that adaptation: a large value gives :class:`SNIP`, a small
    one leaves the product of the gradients.

    Args:
        keep: share of the weights that stay trainable, in (0, 1].
        gamma: a positive number, or ``auto``: median ``|g_r|`` / median ``|theta|`` over all scored weights, which
            balances the two terms. The authors' 1e-6 is for summed gradients, and makes the first term vanish.
        options: see :class:`AttributionOptions`.

    Raises:
        ValueError: if an argument is out of range.

    References:
        Jia et al., WAGLE: Strategic Weight Attribution for Effective and Modular Unlearning in Large Language Models,
        arXiv 2410.17509. The formula is that of the authors' code (``snip_advanced``), with mean gradients.
    """

    needs: ClassVar[frozenset[Need]] = frozenset({"forget", "retain"})

    def __init__(
        self, keep: float, gamma: float | Literal["auto"] = "auto", **options: Unpack[AttributionOptions]
    ) -> None:
        super().__init__(keep, **options)
        if gamma != "auto" and not (isinstance(gamma, int | float) and 0 < gamma < float("inf")):
            raise ValueError(f"gamma is {gamma!r}; accepted: a positive number, or 'auto'.")
        self.gamma = gamma
        self._gamma = float("nan") if gamma == "auto" else float(gamma)

    def prepare(self, parameters: Sequence[Measured], sharded: bool) -> Mapping[str, float]:
        """Determine ``gamma``.

        Returns:
            ``gamma``, and ``term_ratio``: the sum of ``|g_r g_f| / gamma`` divided by that of ``|theta g_f|``.

        Raises:
            ValueError: if ``auto`` finds a median of 0.
        """
        if self.gamma == "auto":
            self._gamma = _balance(parameters, sharded)
        sums = torch.stack([_terms(parameter) for parameter in parameters]).sum(dim=0)
        if sharded:
            distributed.all_reduce(sums)
        first, second = sums.tolist()
        return {"gamma": self._gamma, "term_ratio": second / self._gamma / first if first else float("inf")}

    def score(self, parameter: Measured) -> Tensor:
        """``(theta - g_r / gamma) * g_f``, ``[...]``."""
        shifted = exact(parameter.weight) - parameter.gradient("retain") / self._gamma
        return shifted.mul_(parameter.gradient("forget"))


def _balance(parameters: Sequence[Measured], sharded: bool) -> float:
    middle = (sum(parameter.parameter.numel() for parameter in parameters) + 1) // 2
    gradients = [partial(_size_of_gradient, parameter) for parameter in parameters]
    weights = [partial(_size_of_weight, parameter) for parameter in parameters]
    medians = {"|g_r|": kth_largest(gradients, middle, sharded), "|theta|": kth_largest(weights, middle, sharded)}
    if zero := [name for name, median in medians.items() if not 0 < median < float("inf")]:
        raise ValueError(
            f"gamma='auto' is the ratio of the medians of |g_r| and |theta|, but the median of {zero[0]} is "
            f"{medians[zero[0]]}. Exclude the parameters that are 0 or get no gradient, or give gamma a number."
        )
    return medians["|g_r|"] / medians["|theta|"]


def _size_of_gradient(parameter: Measured) -> Tensor:
    return parameter.gradient("retain").abs().float()


def _size_of_weight(parameter: Measured) -> Tensor:
    return exact(parameter.weight).abs().float()


def _terms(parameter: Measured) -> Tensor:
    """Sums of ``|theta g_f|`` and ``|g_r g_f|``, ``[2]``."""
    forget = parameter.gradient("forget")
    products = (exact(parameter.weight) * forget, parameter.gradient("retain") * forget)
    return torch.stack([product.abs_().sum(dtype=torch.float64) for product in products])
