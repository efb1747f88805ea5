"""Base data module of programs: the rows as they are, and views of them."""

import random
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from functools import cached_property, partial
from typing import ClassVar, Literal

from unlearn_pl.data.evaluation.code_completion import CodeCompletion
from unlearn_pl.data.evaluation.evaluation_row import EvaluationRow, SplitSource
from unlearn_pl.data.module import UnlearningDataModule
from unlearn_pl.data.sampling import stable_hash
from unlearn_pl.data.streams.right_answers import RightAnswers
from unlearn_pl.data.streams.source import StreamSource
from unlearn_pl.data.views.code_views import CodeViews
from unlearn_pl.data.views.staggered_views import StaggeredViews

CodeSet = Literal["forget", "retain", "holdout"]


class CodeRows(RightAnswers):
    """Parts of programs in memory, to train on.

    Args:
        given: the rows.
    """

    def __init__(self, given: Sequence[CodeCompletion]) -> None:
        super().__init__()
        self.given = list(given)

    def rows(self) -> Sequence[CodeCompletion]:
        """The rows."""
        return self.given


class CodeStreams(UnlearningDataModule):
    """Serves parts of programs, and views of them with the same behavior.

    Training streams: ``forget``, ``retain``, ``train`` (both), ``holdout``; ``forget.adversarial`` (the view that leaks
    most, chosen anew every ``period`` epochs), and ``forget.view`` and ``retain.view`` (a random view, drawn anew in
    every epoch). Evaluation splits: ``forget``, ``retain``, ``holdout``, and ``forget_view`` (a fixed view of each).

    Subclasses implement :meth:`code_rows`, and set ``views``, ``candidates`` and ``period`` before the streams are
    loaded.
    """

    default_splits: ClassVar[Sequence[str]] = ("forget", "retain", "forget_view")

    views: CodeViews
    candidates: int
    period: int

    @abstractmethod
    def code_rows(self, name: CodeSet) -> list[CodeCompletion]:
        """The rows of a set; empty if there is none.

        Raises:
            ValueError: if they cannot be read.
        """

    def load_streams(self) -> Mapping[str, StreamSource]:
        """The training streams."""
        sets: dict[str, StreamSource] = {name: CodeRows(rows) for name, rows in self._sets.items() if rows}
        streams = dict(sets)
        for name in ("forget", "retain"):
            if name in sets:
                streams[f"{name}.view"] = StaggeredViews(sets[name], self.views, candidates=1, period=1)
        if "forget" in sets:
            streams["forget.adversarial"] = StaggeredViews(sets["forget"], self.views, self.candidates, self.period)
        streams["train"] = CodeRows(self._train)
        return streams

    def load_splits(self) -> Mapping[str, SplitSource]:
        """The evaluation splits."""
        splits: dict[str, SplitSource] = {name: rows for name, rows in self._sets.items() if rows}
        return splits | ({"forget_view": partial(self._viewed, "forget")} if "forget" in splits else {})

    @property
    def _train(self) -> list[CodeCompletion]:
        return [*self._sets["retain"], *self._sets["forget"]]

    @cached_property
    def _sets(self) -> Mapping[CodeSet, list[CodeCompletion]]:
        names: tuple[CodeSet, ...] = ("forget", "retain", "holdout")
        return {name: self.code_rows(name) for name in names}

    def _viewed(self, name: CodeSet) -> list[EvaluationRow]:
        """One view of every row, always the same; the row itself where it has none."""
        rows = self._sets[name]
        rngs = [random.Random(stable_hash("evaluated view", name, index)) for index in range(len(rows))]
        return [(self.views.several(row, 1, rng) or [row])[0] for row, rng in zip(rows, rngs, strict=True)]
