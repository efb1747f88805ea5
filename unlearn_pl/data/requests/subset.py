"""Some of the questions that are to be forgotten."""

from collections.abc import Mapping
from functools import partial

from unlearn_pl.data.evaluation.evaluation_row import EvaluationRow, Question, SplitSource, load_split
from unlearn_pl.data.module import UnlearningDataModule
from unlearn_pl.data.requests.view import DataView
from unlearn_pl.data.streams.pairs import PairSource
from unlearn_pl.data.streams.source import Source, StreamSource
from unlearn_pl.data.text.encoder import Row, load


class ForgetRows(DataView):
    """Another data module, of whose forget set only some rows are forgotten; the others are in no stream.

    The evaluation split ``forget`` has the same questions; where it has none of them, it has the rows themselves.

    Args:
        data: whose ``forget`` stream holds questions and answers.
        start: number of the first row, from 0.
        stop: number of the row after the last one.

    Raises:
        ValueError: if there are no such rows, or, when they are loaded, not that many; if they are not questions.
    """

    def __init__(self, data: UnlearningDataModule, start: int, stop: int) -> None:
        if not 0 <= start < stop:
            raise ValueError(f"rows=[{start}, {stop}] holds no row; accepted is a first row and a later one after it.")
        super().__init__(data)
        self.start = start
        self.stop = stop

    def load_streams(self) -> Mapping[str, StreamSource]:
        """Those of the data module; ``forget`` and its companions have the chosen rows."""
        sources = dict(self.attached(self.data).load_streams())
        companions = {name: source for name, source in sources.items() if name.partition(".")[0] == "forget"}
        return {**sources, **{name: partial(self._chosen, name, source) for name, source in companions.items()}}

    def load_splits(self) -> Mapping[str, SplitSource]:
        """Those of the data module; ``forget`` has the chosen questions."""
        splits = self.attached(self.data).load_splits()
        return {**splits, "forget": partial(self._asked_again, splits.get("forget"))}

    def _chosen(self, name: str, source: StreamSource) -> list[Row]:
        if isinstance(source, Source) and not isinstance(source, PairSource):
            raise ValueError(
                f"rows=[{self.start}, {self.stop}]: the stream {name!r} holds {source}, which has no rows to choose "
                "from; accepted are questions and answers. Name texts by forget=..., where the data module has it."
            )
        rows = source.rows_that_fit(self._encoder) if isinstance(source, PairSource) else load(source, f"stream {name}")
        if self.stop > len(rows):
            raise ValueError(f"rows=[{self.start}, {self.stop}]: the stream {name!r} has only {len(rows)} rows.")
        return rows[self.start : self.stop]

    def _asked_again(self, split: SplitSource | None) -> list[EvaluationRow]:
        rows = self._chosen("forget", self.data.load_streams()["forget"])
        questions = [row["question"] for row in rows]
        evaluated = [] if split is None else load_split(split, "split 'forget'")
        same: list[EvaluationRow] = [
            row for row in evaluated if isinstance(row, Question) and row.row["question"] in questions
        ]
        return same or load_split(rows, "stream 'forget'")
