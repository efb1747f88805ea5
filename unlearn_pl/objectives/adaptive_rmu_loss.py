"""Representation misdirection with a target that scales with the hidden states (Adaptive RMU)."""

import math

import torch
from torch import Tensor

from unlearn_pl.functional import hidden_state_error, steering_target
from unlearn_pl.functional.logprobs import upcast
from unlearn_pl.objectives.base import Objective
from unlearn_pl.objectives.layers import hidden_needs
from unlearn_pl.types import LanguageView


class AdaptiveRMULoss(Objective):
    """``|h_t - s |h_ref,t| u|^2 / D``: RMU with a target in proportion to the reference model's hidden state.

    Norms grow with depth, so that one factor ``s`` serves every layer and model, while RMU needs a coefficient for
    each. Otherwise like :class:`~unlearn_pl.objectives.RMULoss`.

    Args:
        layer: entry of transformers' ``hidden_states``; 8 is the output of module ``model.layers.7``, and the last
            entry comes after the final norm, see :class:`~unlearn_pl.objectives.RMULoss`.
        factor: ``s``, the length of the target relative to the reference model's hidden state.
        seed: random seed of the direction.
        stream: overrides ``forget``.

    Raises:
        ValueError: if ``layer`` is negative or ``factor`` is not positive and finite.

    References:
        Dang et al., On Effects of Steering Latent Representation for Large Language Model Unlearning, AAAI 2025,
        arXiv 2408.06223: the paper's formula, with a norm per token, of the reference model. The authors' code takes
        one number for the whole run instead: the mean norm of the trained model's states on the first batch, padding
        included, which depends on the order of the data.
    """

    stream = "forget"
    role = "forget"
    needs = frozenset({"hidden.8", "ref_hidden.8"})
    mean_over = "sequences"
    reaches_all = False

    def __init__(self, layer: int = 8, factor: float = 5.0, seed: int = 0, stream: str | None = None) -> None:
        super().__init__(stream)
        if not 0 < factor < math.inf:
            raise ValueError(f"factor is {factor}, but must be positive and finite.")
        self.needs = hidden_needs(layer, reference=True)
        self.layer = layer
        self.factor = factor
        self.seed = seed

    def loss(self, view: LanguageView) -> Tensor:
        """The mean squared distance from the targets, ``[]``."""
        hidden = view.hidden[self.layer]
        norms = torch.linalg.vector_norm(upcast(view.ref_hidden[self.layer]), dim=-1)
        return hidden_state_error(hidden, steering_target(hidden, self.seed, self.factor * norms), view.mask)
