"""Rerouting of hidden states (circuit breakers, RR)."""

from collections.abc import Sequence

import torch
from torch import Tensor

from unlearn_pl.functional import hidden_overlap
from unlearn_pl.objectives.base import Objective
from unlearn_pl.objectives.layers import needs_of_layers
from unlearn_pl.types import LanguageView


class ReroutingLoss(Objective):
    """``max(0, cos(h_t, h_ref,t))``, mean over layers and scored positions: states turn away from the reference's.

    1 at the reference model, and finished where the states are orthogonal to its own.

    Args:
        layers: entries of transformers' ``hidden_states``; 8 is the output of module ``model.layers.7``, and the last
            entry comes after the final norm.
        stream: overrides ``forget``.

    Raises:
        ValueError: if no layer is given, one is given twice, or is negative.

    References:
        Zou et al., Improving Alignment and Robustness with Circuit Breakers, NeurIPS 2024, arXiv 2406.04313. They take
        layers 10 and 20 of 32; with :class:`~unlearn_pl.objectives.HiddenDistanceLoss` on the retain set and two
        :class:`~unlearn_pl.combiners.LinearRamp` as weights it is their method.
    """

    stream = "forget"
    role = "forget"
    needs = frozenset({"hidden.8", "ref_hidden.8"})
    reaches_all = False

    def __init__(self, layers: Sequence[int] = (8,), stream: str | None = None) -> None:
        super().__init__(stream)
        self.needs = needs_of_layers(layers)
        self.layers = list(layers)

    def loss(self, view: LanguageView) -> Tensor:
        """The mean positive cosine with the reference model's states, ``[]``."""
        return torch.stack(
            [hidden_overlap(view.hidden[layer], view.ref_hidden[layer], view.mask) for layer in self.layers]
        ).mean()
