"""Wanda: large weights with large inputs."""

from typing import ClassVar, Unpack

import torch
from torch import Tensor, nn

from unlearn_pl.attribution.base import Attribution, AttributionOptions
from unlearn_pl.attribution.input_norms import scored_matrices
from unlearn_pl.attribution.measured import Measured, Need, exact
from unlearn_pl.models.weight_layout import check_share


class Wanda(Attribution):
    """``S_ij = |theta_ij| * norm(x_j)``, over the tokens of the forget data; ranked within each output by default.

    The matrices of layers have a score: linear layers, GPT-2's, and experts, one by one over the tokens that are routed
    to each. All other parameters are masked; what share of the layers they are is logged.

    Args:
        keep: share of the weights that stay trainable, in (0, 1].
        options: see :class:`AttributionOptions`.

    Raises:
        ValueError: from ``choose``, if less than three quarters of the trainable weights in the layers have a score.

    References:
        Sun et al., A Simple and Effective Pruning Approach for Large Language Models, arXiv 2306.11695, equation 1.
        There, the weights to keep; here, as in WAGLE's code, the weights to train.
    """

    needs: ClassVar[frozenset[Need]] = frozenset({"inputs"})

    def __init__(self, keep: float, **options: Unpack[AttributionOptions]) -> None:
        options.setdefault("scope", "row")
        super().__init__(keep, **options)

    def candidates(self, model: nn.Module) -> list[str]:
        """The trainable matrices of layers, except those shared with an embedding."""
        trainable = super().candidates(model)
        scored = scored_matrices(model)
        found = [name for name in trainable if name in scored]
        check_share("Wanda scores", model, found, among=trainable)
        return found

    def score(self, parameter: Measured) -> Tensor:
        """``theta_ij * norm(x_j)``, ``[...]``; the sign does not count."""
        if parameter.input_norms is None:
            return torch.zeros_like(exact(parameter.weight))  # it was never used
        return exact(parameter.weight) * parameter.input_norms
