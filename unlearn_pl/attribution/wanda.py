"""Wanda: large weights with large inputs."""

from typing import ClassVar, Unpack

from torch import Tensor, nn

from unlearn_pl.attribution.base import Attribution, AttributionOptions
from unlearn_pl.attribution.measured import Measured, Need, exact


class Wanda(Attribution):
    """``S_ij = |theta_ij| * norm(x_j)``, over the tokens of the forget data; ranked within each output by default.

    Only linear layers have a score; all other parameters are masked.

    Args:
        keep: share of the weights that stay trainable, in (0, 1].
        options: see :class:`AttributionOptions`.

    References:
        Sun et al., A Simple and Effective Pruning Approach for Large Language Models, arXiv 2306.11695, equation 1.
        There, the weights to keep; here, as in WAGLE's code, the weights to train.
    """

    needs: ClassVar[frozenset[Need]] = frozenset({"inputs"})

    def __init__(self, keep: float, **options: Unpack[AttributionOptions]) -> None:
        options.setdefault("scope", "row")
        super().__init__(keep, **options)

    def candidates(self, model: nn.Module) -> list[str]:
        """The trainable weights of linear layers, except those shared with an embedding."""
        linear = {f"{name}.weight" for name, module in model.named_modules() if isinstance(module, nn.Linear)}
        return [name for name in super().candidates(model) if name in linear]

    def score(self, parameter: Measured) -> Tensor:
        """``theta_ij * norm(x_j)``, ``[out, in]``; the sign does not count."""
        assert parameter.input_norms is not None
        return exact(parameter.weight) * parameter.input_norms
