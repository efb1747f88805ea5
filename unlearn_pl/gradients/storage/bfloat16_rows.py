"""Gradient rows in bfloat16."""

import torch

from unlearn_pl.gradients.rows import Row
from unlearn_pl.gradients.storage.row_storage import RowStorage


class BFloat16Rows(RowStorage):
    """Keeps rows in bfloat16, except for the last one: ``(K - 1) / 2`` copies of an fp32 gradient.

    Elements are rounded to 8 significant bits; the error of a product is at most about ``1e-3`` of the rows' norms.
    With accumulation, rows of objectives that share a forward pass are whole until their last micro-batch.
    """

    def keep(self, row: Row, *, last: bool) -> Row:
        """The row in bfloat16."""
        return row if last else [None if g is None else g.to(torch.bfloat16) for g in row]

    def share(self, element_size: int, place: torch.device, world_size: int) -> float:
        """Two bytes per element."""
        return 2 / element_size
