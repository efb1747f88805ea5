"""Representation misdirection (RMU)."""

import math

from torch import Tensor

from unlearn_pl.functional import hidden_state_error, steering_target
from unlearn_pl.objectives.base import Objective
from unlearn_pl.objectives.layers import hidden_needs
from unlearn_pl.types import LanguageView


class RMULoss(Objective):
    """``|h_t - c u|^2 / D``: pulls the hidden states of a layer toward one random direction ``u``.

    The mean runs over the scored positions of a sequence, then over sequences. Steered are the states that predict a
    scored token: of a question and its answer, from the last token of the question to the last but one of the answer;
    of a text, all but the last one. ``u`` is a unit vector with entries
    drawn from ``[0, 1)``; it is derived from ``seed``, so that ranks and resumed runs agree without storing it.

    Args:
        layer: entry of transformers' ``hidden_states``. 8 is the output of module ``model.layers.7``, the authors'
            choice for their 7B model. The last entry is not the output of the last layer but that of the final norm,
            which gives all states about the same length: of other lengths than the targets of inner layers. A warning
            says so.
        coefficient: ``c``, the length of the target. 2 is OpenUnlearning's; the authors use 6.5 for their 7B model.
        seed: random seed of the direction.
        stream: overrides ``forget``.

    Raises:
        ValueError: if ``layer`` is negative or ``coefficient`` is not positive and finite.

    References:
        Li et al., The WMDP Benchmark: Measuring and Reducing Malicious Use with Unlearning, ICML 2024,
        arXiv 2403.03218. The paper sums the squares over D; the authors' code, which we follow, takes their mean. It
        steers all positions, padding included. OpenUnlearning steers the states of the answer's own tokens, each one
        position later than here, and averages per sequence as we do, but mixes the lengths of the sequences of a batch;
        that is not copied.
    """

    stream = "forget"
    role = "forget"
    needs = frozenset({"hidden.8"})
    mean_over = "sequences"
    reaches_all = False

    def __init__(self, layer: int = 8, coefficient: float = 2.0, seed: int = 0, stream: str | None = None) -> None:
        super().__init__(stream)
        if not 0 < coefficient < math.inf:
            raise ValueError(f"coefficient is {coefficient}, but must be positive and finite.")
        self.needs = hidden_needs(layer, reference=False)
        self.layer = layer
        self.coefficient = coefficient
        self.seed = seed

    def loss(self, view: LanguageView) -> Tensor:
        """The mean squared distance from the target, ``[]``."""
        hidden = view.hidden[self.layer]
        return hidden_state_error(hidden, steering_target(hidden, self.seed, self.coefficient), view.mask)
