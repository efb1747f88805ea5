"""Gradient rows as the backward pass leaves them."""

from unlearn_pl.gradients.rows import Row
from unlearn_pl.gradients.storage.row_storage import RowStorage


class WholeRows(RowStorage):
    """Keeps rows unchanged and in place: ``K - 1`` copies of the gradient beside the one that is in ``.grad``."""

    def keep(self, row: Row, *, last: bool) -> Row:
        """The row itself."""
        return row
