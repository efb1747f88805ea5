"""Base class of metrics that keep one number per example, exact on any number of ranks."""

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat

from unlearn_pl.types import Detail, Reads


class PerExampleMetric(Metric):
    """Collects a value per example and averages them, each example once.

    Distributed samplers repeat examples until all ranks have the same number; values are therefore kept with the key
    of their example, and only the first value of a key counts. A rank may see any number of examples, or none.

    Attributes:
        details: per-token statistics that it reads, beyond the sum over the tokens.
        reads: the part of a dataloader that it reads.
        key: ``[n]`` int64, the example of each value.
        value: ``[n]`` fp64, one value per key.
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
        """Drop all values."""
        super().reset()
        # A rank without examples contributes empty tensors of the right dtype; torchmetrics would use fp32 ones, and
        # gathering int64 from one rank and fp32 from another hangs or returns garbage.
        self._append(torch.empty(0), torch.empty(0))

    def update(self, index: Tensor, value: Tensor) -> None:
        """Add the values of some examples.

        Args:
            index: ``[B]`` position of each example in its dataset.
            value: ``[B]`` its value.
        """
        self._append(index, value)

    def take(self, outputs: Mapping[str, Any], batch: Mapping[str, Any]) -> None:
        """Add the output of an evaluation step; subclasses override it to read other entries.

        Args:
            outputs: the output of the step, here with ``index [B]`` and ``value [B]``.
            batch: the batch of the step.
        """
        self.update(outputs["index"], outputs["value"])

    def per_example(self) -> dict[int, float]:
        """Key to value over all ranks, in the order of the keys; a collective operation."""
        with self.sync_context(dist_sync_fn=self.dist_sync_fn):
            keys, values = self._unique()
        return dict(zip(keys.tolist(), values.tolist(), strict=True))

    def columns(self, name: str) -> dict[str, dict[int, float]]:
        """Name of every score that the metric gives, by default ``name`` alone, to :meth:`per_example`.

        Args:
            name: what the metric is called in its evaluation.
        """
        return {name: self.per_example()}

    def compute(self) -> Tensor:
        """Mean over the examples of all ranks, ``[]`` fp64; NaN without examples, or if one value is NaN."""
        return self._unique()[1].mean()

    def _append(self, key: Tensor, value: Tensor) -> None:
        self.key.append(key.detach().to(self.device, torch.int64))
        self.value.append(value.detach().to(self.device, torch.float64))

    def _unique(self) -> tuple[Tensor, Tensor]:
        """Distinct keys ``[n]``, ascending, so that sums do not depend on the ranks, and their values ``[n]``."""
        keys, values = dim_zero_cat(self.key), dim_zero_cat(self.value)
        keys, order = keys.sort(stable=True)
        is_first = torch.ones_like(keys, dtype=torch.bool)
        is_first[1:] = keys[1:] != keys[:-1]
        return keys[is_first], values[order][is_first]
