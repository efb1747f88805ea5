"""A metric that keeps one number per example, exact on any number of ranks."""

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat

from unlearn_pl.types import Detail, Reads


class PerExampleMetric(Metric):
    """Collects a value per example and averages them, each example once.

    Distributed samplers repeat examples until every rank has equally many; values are therefore kept with the key of
    their example, and only the first value of a key counts. Ranks may see different numbers of examples, or none.

    Attributes:
        details: what it needs to know about every scored token.
        reads: how much of a dataloader it needs.
        key: ``[n]`` int64, which example each value belongs to.
        value: ``[n]`` fp64.
    """

    details: ClassVar[frozenset[Detail]] = frozenset()
    reads: ClassVar[Reads] = "candidates"
    full_state_update = False
    key: list[Tensor]
    value: list[Tensor]

    def __init__(self) -> None:
        super().__init__()
        self.add_state("key", default=[], dist_reduce_fx="cat")
        self.add_state("value", default=[], dist_reduce_fx="cat")
        self.reset()

    def reset(self) -> None:
        """Forget everything."""
        super().reset()
        # A rank that saw nothing contributes tensors of the right dtype; torchmetrics would make up fp32 ones, and
        # gathering int64 from one rank and fp32 from another hangs or returns garbage.
        self._append(torch.empty(0), torch.empty(0))

    def update(self, index: Tensor, value: Tensor) -> None:
        """Take in the values of some examples.

        Args:
            index: ``[B]`` position of each example in its dataset.
            value: ``[B]`` its value.
        """
        self._append(index, value)

    def take(self, outputs: Mapping[str, Any], batch: Mapping[str, Any]) -> None:
        """Take in what a step of an evaluation has returned; subclasses that need something else override it.

        Args:
            outputs: what the step returned: here ``index`` and ``value``.
            batch: the batch that it was given.
        """
        self.update(outputs["index"], outputs["value"])

    def per_example(self) -> dict[int, float]:
        """Key to value over all ranks, in the order of the keys; a collective operation."""
        with self.sync_context(dist_sync_fn=self.dist_sync_fn):
            keys, values = self._unique()
        return dict(zip(keys.tolist(), values.tolist(), strict=True))

    def compute(self) -> Tensor:
        """Mean over the examples of all ranks, ``[]`` fp64; NaN when there are none, or one of them is NaN."""
        return self._unique()[1].mean()

    def _append(self, key: Tensor, value: Tensor) -> None:
        self.key.append(key.detach().to(self.device, torch.int64))
        self.value.append(value.detach().to(self.device, torch.float64))

    def _unique(self) -> tuple[Tensor, Tensor]:
        """Keys without repetition, ascending, so that sums do not depend on who saw what; and their values."""
        keys, values = dim_zero_cat(self.key), dim_zero_cat(self.value)
        keys, order = keys.sort(stable=True)
        is_first = torch.ones_like(keys, dtype=torch.bool)
        is_first[1:] = keys[1:] != keys[:-1]
        return keys[is_first], values[order][is_first]
