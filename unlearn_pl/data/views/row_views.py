"""Base class of sources of views: the same content in another form."""

import random
from abc import ABC, abstractmethod
from collections.abc import Sequence

from unlearn_pl.data.evaluation.evaluation_row import EvaluationRow
from unlearn_pl.recording import Recorded

TRIES = 4
"""How often a view is drawn per view that is wanted: draws repeat, or change nothing."""


class RowViews(Recorded, ABC):
    """Writes rows in other forms that mean the same."""

    @property
    def name(self) -> str:
        """Name in tables."""
        return type(self).__name__

    @abstractmethod
    def view(self, row: EvaluationRow, rng: random.Random) -> EvaluationRow | None:
        """The row in another form; None if it has none.

        Args:
            row: a row of a split.
            rng: decides among several forms.
        """

    @abstractmethod
    def check(self, rows: Sequence[EvaluationRow]) -> None:
        """Check that the rows are of a kind that has views.

        Raises:
            ValueError: naming the kind, and what is accepted.
        """

    def several(self, row: EvaluationRow, count: int, rng: random.Random) -> list[EvaluationRow]:
        """Up to ``count`` different views of a row, in the order in which they were drawn; fewer if it has no more."""
        found: dict[str, EvaluationRow] = {}
        for _ in range(TRIES * count):
            if (view := self.view(row, rng)) is not None and view.content() != row.content():
                found.setdefault(view.content(), view)
            if len(found) == count:
                break
        return list(found.values())


def check_kind(rows: Sequence[EvaluationRow], kind: type[EvaluationRow], views: RowViews, accepted: str) -> None:
    """Check that all rows are of one kind.

    Raises:
        ValueError: naming the others, and what is accepted.
    """
    others = sorted({type(row).__name__ for row in rows if not isinstance(row, kind)})
    if others:
        raise ValueError(f"{views.name} was given rows of kind {', '.join(others)}. Accepted: {accepted}.")
