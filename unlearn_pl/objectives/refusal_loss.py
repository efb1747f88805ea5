"""Cross-entropy of refusals, which replace the forget answers."""

from unlearn_pl.objectives.causal_lm_loss import CausalLMLoss


class RefusalLoss(CausalLMLoss):
    """``-log p(r_t | r_<t, x)`` of refusals ``r`` to the forget questions, mean over the scored tokens.

    Forgets by descent: the model learns to say that it does not know.

    Args:
        stream: overrides ``forget.alternate``.

    References:
        Maini et al., TOFU, COLM 2024, arXiv 2401.06121 (preference optimization, also called IDK).
    """

    stream = "forget.alternate"
    role = "forget"

    @property
    def progress_rises(self) -> bool:
        """True: progress is the probability of the refusals."""
        return True
