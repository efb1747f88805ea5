"""What a selector can read of the rows that it picks from."""

from collections.abc import Callable, Sequence
from functools import cached_property

import torch
from torch import Tensor

from unlearn_pl.types import Batch, Needs, View

Statistic = Callable[[View, Batch], Tensor]
"""Maps the view of B rows, and their batch, to values ``[B, ...]``."""
Lazy = Tensor | Callable[[], Tensor] | None
"""Values, a function that computes them when they are first read, or None where there are none."""


class Pool:
    """N rows to pick from; everything that is expensive is computed when it is first read.

    Args:
        size: number of rows.
        features: ``[N, D]``, an embedding per row.
        anchors: ``[M, D]``, the embeddings of the rows that the picked ones are to be similar to.
        labels: the N values of a column, by its name; None where there are no columns.
        measured: applies a statistic to all rows, ``[N, ...]``, given the fields of the view that it reads; None where
            there is no model.
    """

    def __init__(
        self,
        size: int,
        features: Lazy = None,
        anchors: Lazy = None,
        labels: Callable[[str | None], Sequence[object]] | None = None,
        measured: Callable[[Needs, Statistic], Tensor] | None = None,
    ) -> None:
        self.size = size
        self._features = features
        self._anchors = anchors
        self._labels = labels
        self._measured = measured

    @cached_property
    def features(self) -> Tensor:
        """``[N, D]`` fp32.

        Raises:
            ValueError: if there are none, their number is not N, or one is not finite.
        """
        features = _values(self._features, "embeddings of its rows")
        if len(features) != self.size:
            raise ValueError(f"There are {len(features)} embeddings for {self.size} rows; accepted is one for each.")
        return features

    @cached_property
    def anchors(self) -> Tensor:
        """``[M, D]`` fp32.

        Raises:
            ValueError: if there are none, or they have another width than the features.
        """
        anchors = _values(self._anchors, "embeddings of the rows to be similar to")
        if anchors.shape[-1] != self.features.shape[-1]:
            raise ValueError(
                f"The anchors have {anchors.shape[-1]} features and the rows {self.features.shape[-1]}; accepted are "
                "embeddings of the same kind."
            )
        return anchors

    @property
    def has_features(self) -> bool:
        """Whether the features have been read."""
        return "features" in vars(self)

    def groups(self, column: str | None) -> Tensor:
        """``[N]`` the number of each row's class: classes are counted in the order of their names.

        Args:
            column: name of a column; None for the class that the model is trained on.

        Raises:
            ValueError: if there are no classes.
        """
        if self._labels is None:
            raise ValueError(f"The rows have no classes, so there is no column {column!r} to read.")
        values = list(map(str, self._labels(column)))
        if len(values) != self.size:
            raise ValueError(f"There are {len(values)} labels for {self.size} rows; accepted is one for each.")
        number = {value: i for i, value in enumerate(sorted(set(values)))}
        return torch.tensor([number[value] for value in values])

    def measured(self, needs: Needs, statistic: Statistic) -> Tensor:
        """``statistic`` of every row under the model, ``[N, ...]``.

        Args:
            needs: fields of the view that are read.
            statistic: maps the view of B rows and their batch to ``[B, ...]``.

        Raises:
            ValueError: if there is no model.
        """
        if self._measured is None:
            raise ValueError("A selector measures its rows with a model, and there is none.")
        return self._measured(needs, statistic)


def _values(given: Lazy, what: str) -> Tensor:
    if given is None:
        raise ValueError(f"A selector reads {what}, and there are none.")
    values = (given if isinstance(given, Tensor) else given()).float()
    if values.dim() != 2 or not len(values):
        raise ValueError(f"The {what} have the shape {list(values.shape)}; accepted is [rows, features].")
    if not values.isfinite().all():
        raise ValueError(f"The {what} are not all finite: the model, or the encoder, gives NaN or infinity.")
    return values
