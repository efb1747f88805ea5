"""Base classes of selectors: a ranking of rows, of which a share is kept."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from unlearn_pl.data.selection.pool import Pool
from unlearn_pl.recording import Recorded


@dataclass(frozen=True)
class Ranking:
    """The rows of a pool, best first.

    Attributes:
        rows: ``[N]`` their numbers, each once.
        groups: ``[N]`` the cluster or class of each row, in the order of the rows; None without groups.
        votes: ``[C]`` votes of each group; None without votes.
    """

    rows: Tensor
    groups: Tensor | None = None
    votes: Tensor | None = None


class Selector(Recorded, ABC):
    """Picks a share of the rows of a stream; subclasses rank them.

    A selector is a function of what its pool holds: it has no state, and no random number but those of its own seed.

    Attributes:
        uses_features: whether it reads the embeddings of the rows.
        uses_anchors: whether it reads those of the rows to be similar to.
        uses_model: whether it reads losses, or anything else that is measured with the model.

    Args:
        keep: share of the rows that are kept, above 0 and at most 1; their number is rounded.

    Raises:
        ValueError: if ``keep`` is out of its range; from :meth:`select`, if no row is kept.
    """

    uses_features: ClassVar[bool] = False
    uses_anchors: ClassVar[bool] = False
    uses_model: ClassVar[bool] = False

    def __init__(self, keep: float) -> None:
        if isinstance(keep, bool) or not 0 < keep <= 1:
            raise ValueError(f"keep={keep} is no share of the rows; accepted is a number above 0 and at most 1.")
        self.keep = keep

    @abstractmethod
    def rank(self, pool: Pool) -> Ranking:
        """All rows of ``pool``, best first."""

    def count(self, size: int) -> int:
        """How many of ``size`` rows are kept.

        Raises:
            ValueError: if it is none.
        """
        number = round(self.keep * size)
        if not number:
            raise ValueError(
                f"{type(self).__name__}(keep={self.keep}) keeps no row of {size}; accepted is a share of at least "
                f"{1 / size:.2g}, which is one row."
            )
        return number

    def select(self, pool: Pool) -> Tensor:
        """The numbers of the kept rows, ascending: ``[n]``."""
        return self.rank(pool).rows[: self.count(pool.size)].sort().values


class ScoreSelector(Selector):
    """Keeps the rows with the highest scores, or with the lowest; the first one of equals.

    Args:
        keep: share of the rows that are kept.
        lowest: keep those with the lowest scores.
    """

    def __init__(self, keep: float, lowest: bool = False) -> None:
        super().__init__(keep)
        self.lowest = lowest

    @abstractmethod
    def scores(self, pool: Pool) -> Tensor:
        """A score per row, ``[N]``."""

    def rank(self, pool: Pool) -> Ranking:
        """The rows by their scores.

        Raises:
            ValueError: if a score is NaN.
        """
        scores = self.scores(pool)
        if scores.isnan().any():
            raise ValueError(
                f"{type(self).__name__} has no score for {int(scores.isnan().sum())} of {len(scores)} rows."
            )
        return Ranking(torch.argsort(scores, descending=not self.lowest, stable=True))
