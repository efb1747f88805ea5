"""Rows that are nearest to the anchors."""

from torch import Tensor

from unlearn_pl.data.selection.distances import nearest
from unlearn_pl.data.selection.pool import Pool
from unlearn_pl.data.selection.selector import ScoreSelector


class NearestRows(ScoreSelector):
    """Keeps the rows with the smallest distance ``min_a ||features - a||_2`` to an anchor: the neighbors.

    Args:
        keep: share of the rows that are kept, above 0 and at most 1.
        lowest: False for the rows that are farthest away instead.

    References:
        Chang and Lee, Which Retain Set Matters for LLM Unlearning? A Case Study on Entity Unlearning, 2025, arXiv
        2502.11441: rows that are syntactically similar to the forget set suffer most.
    """

    uses_features = uses_anchors = True

    def __init__(self, keep: float, lowest: bool = True) -> None:
        super().__init__(keep, lowest)

    def scores(self, pool: Pool) -> Tensor:
        """Distance to the nearest anchor, ``[N]``."""
        return nearest(pool.features, pool.anchors).distance
