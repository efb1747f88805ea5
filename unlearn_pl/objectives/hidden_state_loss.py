"""Distance from the hidden states of the reference model."""

from torch import Tensor

from unlearn_pl.functional import hidden_state_error
from unlearn_pl.objectives.base import Objective
from unlearn_pl.objectives.layers import hidden_needs
from unlearn_pl.types import LanguageView


class HiddenStateLoss(Objective):
    """``|h_t - h_ref,t|^2 / D``: keeps a layer's hidden states near the reference model's; RMU's retain side.

    The mean runs over the scored positions of a sequence, then over sequences. Loss and gradient are zero while the
    model equals the reference model.

    Args:
        layer: entry of transformers' ``hidden_states``; 8 is the output of module ``model.layers.7``, and the last
            entry comes after the final norm.
        stream: overrides ``retain``.

    Raises:
        ValueError: if ``layer`` is negative.

    References:
        Li et al., The WMDP Benchmark: Measuring and Reducing Malicious Use with Unlearning, ICML 2024,
        arXiv 2403.03218. Means as in :class:`~unlearn_pl.objectives.RMULoss`.
    """

    stream = "retain"
    role = "retain"
    needs = frozenset({"hidden.8", "ref_hidden.8"})
    mean_over = "sequences"
    reaches_all = False
    zero_at_reference = True

    def __init__(self, layer: int = 8, stream: str | None = None) -> None:
        super().__init__(stream)
        self.needs = hidden_needs(layer, reference=True)
        self.layer = layer

    def loss(self, view: LanguageView) -> Tensor:
        """The mean squared distance from the reference model, ``[]``."""
        return hidden_state_error(view.hidden[self.layer], view.ref_hidden[self.layer], view.mask)
