"""Cross-entropy with the model's own distribution without the label (CE-U)."""

from torch import Tensor

from unlearn_pl.functional import ceu_loss
from unlearn_pl.objectives.base import Objective
from unlearn_pl.types import LanguageView


class CEULoss(Objective):
    """``-sum_v q_v log p_v`` with ``q_y = 0``, else ``q_v = [p_v / (1 - p_y)]``, mean over the scored tokens.

    ``y`` is the label, and ``[.]`` is held constant. Forgets by descent: its gradient with respect to the logits is
    ``p - q`` at every used token. For the label that is ``p``, between 0 and 1: it neither vanishes where the model is
    certain nor explodes where the token is forgotten.

    Args:
        ignore_first_n: number of tokens at the start of every answer that are ignored, at least 0.
        stream: overrides ``forget``.

    Raises:
        ValueError: if ``ignore_first_n`` is negative.

    References:
        Yang, CE-U: Cross Entropy Unlearning, 2025, arXiv 2503.01224. The authors' code averages over the used tokens
        alone. Here the ignored ones count in the denominator, so that accumulation changes nothing: this is the code's
        mean times the share of used tokens, hence the same direction at every step.
    """

    stream = "forget"
    role = "forget"
    needs = frozenset({"logits"})

    def __init__(self, ignore_first_n: int = 1, stream: str | None = None) -> None:
        if ignore_first_n < 0:
            raise ValueError(f"ignore_first_n is {ignore_first_n}, but must be at least 0.")
        super().__init__(stream)
        self.ignore_first_n = ignore_first_n

    def loss(self, view: LanguageView) -> Tensor:
        """The sum over the used tokens, divided by the number of scored ones, ``[]``."""
        assert view.logits is not None
        return ceu_loss(view.logits, view.labels, view.mask, self.ignore_first_n)
