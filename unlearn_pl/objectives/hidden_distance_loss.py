"""Distance from the hidden states of the reference model, not squared (circuit breakers, RR)."""

from collections.abc import Sequence

import torch
from torch import Tensor

from unlearn_pl.functional import hidden_distance
from unlearn_pl.objectives.base import Objective
from unlearn_pl.objectives.layers import needs_of_layers
from unlearn_pl.types import LanguageView


class HiddenDistanceLoss(Objective):
    """``|h_t - h_ref,t|``, mean over layers and scored positions: keeps the hidden states of several layers in place.

    Not squared, unlike :class:`~unlearn_pl.objectives.HiddenStateLoss`: the pull does not fade as the states come near,
    and is 0 where they are equal.

    Args:
        layers: entries of transformers' ``hidden_states``; 8 is the output of module ``model.layers.7``, and the last
            entry comes after the final norm.
        stream: overrides ``retain``.

    Raises:
        ValueError: if no layer is given, one is given twice, or is negative.

    References:
        Zou et al., Improving Alignment and Robustness with Circuit Breakers, NeurIPS 2024, arXiv 2406.04313, the retain
        side. The authors read all layers.
    """

    stream = "retain"
    role = "retain"
    needs = frozenset({"hidden.8", "ref_hidden.8"})
    reaches_all = False
    zero_at_reference = True

    def __init__(self, layers: Sequence[int] = (8,), stream: str | None = None) -> None:
        super().__init__(stream)
        self.needs = needs_of_layers(layers)
        self.layers = list(layers)

    def loss(self, view: LanguageView) -> Tensor:
        """The mean distance from the reference model's states, ``[]``."""
        return torch.stack(
            [hidden_distance(view.hidden[layer], view.ref_hidden[layer], view.mask) for layer in self.layers]
        ).mean()
