"""Rows whose least likely tokens are the least, or the most, likely."""

from functools import partial
from typing import cast

from torch import Tensor

from unlearn_pl.data.selection.pool import Pool
from unlearn_pl.data.selection.selector import ScoreSelector
from unlearn_pl.functional.evaluation.membership import min_k
from unlearn_pl.types import Batch, LanguageView, View


class MinKLoss(ScoreSelector):
    """Keeps the rows with the highest Min-K% loss: ``-mean log p_t`` over the share ``k`` of the least likely tokens.

    A low value is a sign that the model was trained on the row.

    Args:
        keep: share of the rows that are kept, above 0 and at most 1.
        k: share of the scored tokens of a row that are read, above 0 and at most 1.
        lowest: keep the rows with the lowest loss instead, those that look most memorized.

    Raises:
        ValueError: if an argument is out of its range.

    References:
        Shi et al., Detecting Pretraining Data from Large Language Models, 2023, arXiv 2310.16789.
        Pal et al., arXiv 2504.10185, select forget rows by it.
    """

    uses_model = True

    def __init__(self, keep: float, k: float = 0.2, lowest: bool = False) -> None:
        super().__init__(keep, lowest)
        if not 0 < k <= 1:
            raise ValueError(f"k={k} is no share of the tokens; accepted is a number above 0 and at most 1.")
        self.k = k

    def scores(self, pool: Pool) -> Tensor:
        """The loss of every row, ``[N]``; NaN without a scored token."""
        return pool.measured(frozenset(), partial(_min_k, k=self.k))


def _min_k(view: View, batch: Batch, k: float) -> Tensor:
    view = cast(LanguageView, view)
    return min_k(view.logps, view.mask, k)
