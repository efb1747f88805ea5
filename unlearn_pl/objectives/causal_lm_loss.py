"""Next-token cross-entropy."""

from torch import Tensor

from unlearn_pl.functional import masked_mean
from unlearn_pl.objectives.base import Objective
from unlearn_pl.types import LanguageView, Role


class CausalLMLoss(Objective):
    """``-log p(y_t | y_<t, x)``, mean over the scored tokens: retains the answers of the stream.

    Args:
        stream: overrides ``retain``.
    """

    stream = "retain"
    role: Role = "retain"  # annotated, so that subclasses may have the role forget

    def loss(self, view: LanguageView) -> Tensor:
        """The mean negative log-likelihood in nats, ``[]``."""
        return -masked_mean(view.logps, view.mask)
