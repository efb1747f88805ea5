"""f-divergence between the alternate and the forget answer (FLAT)."""

from typing import get_args

from torch import Tensor

from unlearn_pl.functional import FDivergence, flat_losses, masked_mean, mean_probability
from unlearn_pl.objectives.base import Objective
from unlearn_pl.types import LanguageView


class FLATLoss(Objective):
    """``-g*(P(x, y_alternate)) + f*(g*(P(x, y_forget)))``, mean over the pairs: learns one answer, unlearns the other.

    ``P(x, y)`` is the mean probability of the answer's tokens, ``f*`` and ``g*`` the conjugate and the variational
    function of the divergence. It needs neither a reference model nor retain data.

    Args:
        divergence: ``kl``, ``tv`` (total variation), ``js`` (Jensen-Shannon) or ``pearson``.
        alternate: stream of the answers to learn.
        forget: stream of the forget answers, with the same examples in the same order.

    Raises:
        ValueError: if ``divergence`` is unknown.

    References:
        Wang et al., LLM Unlearning via Loss Adjustment with Only Forget Data, ICLR 2025, arXiv 2410.11143. The
        divergence is a difference of expectations of ``g*`` and ``f*(g*)``, so both are applied pair by pair. The
        authors' code applies them to the mean probability of the whole batch, in which prompts and padding count as 0,
        so that its loss depends on how a batch is split.
    """

    stream = ("forget.alternate", "forget")
    role = "forget"
    mean_over = "sequences"

    def __init__(
        self, divergence: FDivergence = "tv", alternate: str = "forget.alternate", forget: str = "forget"
    ) -> None:
        super().__init__()
        if divergence not in get_args(FDivergence):
            raise ValueError(f"divergence is {divergence!r}, but must be one of {', '.join(get_args(FDivergence))}.")
        self.divergence = divergence
        self.stream = (alternate, forget)

    def loss(self, alternate: LanguageView, forget: LanguageView) -> Tensor:
        """The mean over pairs whose alternate answer has labels, ``[]``."""
        probs, forget_probs = (mean_probability(view.logps, view.mask) for view in (alternate, forget))
        return masked_mean(flat_losses(probs, forget_probs, self.divergence), alternate.mask.any(dim=-1))
