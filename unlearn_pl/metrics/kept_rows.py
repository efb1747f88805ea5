"""Rows of numbers per example, gathered exactly over ranks; for figures and for distances between sets."""

import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat


class KeptRows(Metric):
    """Keeps a tensor of one shape per example, each example once.

    Args:
        shape: of a row.

    Attributes:
        key: ``[n]`` int64, the example of each row.
        row: ``[n, *shape]`` fp32.
    """

    full_state_update = False
    key: list[Tensor]
    row: list[Tensor]

    def __init__(self, *shape: int) -> None:
        super().__init__()
        self.shape = shape
        self.add_state("key", default=[], dist_reduce_fx="cat")
        self.add_state("row", default=[], dist_reduce_fx="cat")
        self.reset()

    def reset(self) -> None:
        """Drop all rows."""
        super().reset()
        self.update(torch.empty(0), torch.empty(0, *self.shape))  # a rank without examples contributes these

    def update(self, index: Tensor, row: Tensor) -> None:
        """Add the rows ``[B, *shape]`` of the examples ``index [B]``."""
        self.key.append(index.detach().to(self.device, torch.int64))
        self.row.append(row.detach().to(self.device, torch.float32))

    def compute(self) -> Tensor:
        """``[n, *shape]`` on the CPU, in the order of the examples, of all ranks; a collective operation."""
        keys, order = dim_zero_cat(self.key).sort(stable=True)
        is_first = torch.ones_like(keys, dtype=torch.bool)
        is_first[1:] = keys[1:] != keys[:-1]
        return dim_zero_cat(self.row)[order[is_first]].cpu()
