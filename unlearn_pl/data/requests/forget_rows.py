"""A subset of the forget set."""

from collections.abc import Mapping
from functools import partial

from unlearn_pl.data.evaluation.evaluation_row import EvaluationRow, SplitSource, load_split
from unlearn_pl.data.module import UnlearningDataModule
from unlearn_pl.data.requests.cuts import Cuts
from unlearn_pl.data.requests.subset import SubsetDataModule
from unlearn_pl.data.streams.pairs import PairSource
from unlearn_pl.data.streams.source import Source, StreamSource
from unlearn_pl.data.text.encoder import Row, load
from unlearn_pl.recording import arguments_of


class ForgetRows(SubsetDataModule):
    """Another data module with only some rows of its forget set; the other rows are in no stream.

    The evaluation split ``forget`` has the same questions; if it has none of them, it has the rows themselves.

    Args:
        data: a data module whose ``forget`` stream holds questions and answers.
        start: number of the first row, from 0.
        stop: number of the row after the last one.
        cuts: shared by several views of one data module, so that its rows are loaded once; by default its own.

    Raises:
        ValueError: if ``start`` and ``stop`` select no row; when rows are loaded, if they are too few, or no questions.
    """

    def __init__(self, data: UnlearningDataModule, start: int, stop: int, cuts: Cuts | None = None) -> None:
        if not 0 <= start < stop:
            raise ValueError(f"rows=[{start}, {stop}] holds no row; accepted is a first row and a larger number.")
        super().__init__(data)
        self.start = start
        self.stop = stop
        self._cuts = cuts or Cuts([(start, stop)])

    def recorded_arguments(self) -> dict[str, object]:
        """Which rows; the data module has a record of its own, which takes time in proportion to its rows."""
        return {name: value for name, value in arguments_of(self).items() if name in ("start", "stop")}

    def load_streams(self) -> Mapping[str, StreamSource]:
        """The streams of the data module; ``forget`` and its companions have the selected rows."""
        sources = dict(self.attached(self.data).load_streams())
        companions = {name: source for name, source in sources.items() if name.partition(".")[0] == "forget"}
        return {**sources, **{name: partial(self._chosen, name, source) for name, source in companions.items()}}

    def load_splits(self) -> Mapping[str, SplitSource]:
        """The splits of the data module; ``forget`` has the selected questions."""
        splits = self.attached(self.data).load_splits()
        return {**splits, "forget": partial(self._asked_again, splits.get("forget"))}

    def _chosen(self, name: str, source: StreamSource) -> list[Row]:
        if isinstance(source, Source) and not isinstance(source, PairSource):
            raise ValueError(
                f"rows=[{self.start}, {self.stop}]: the stream {name!r} holds {source}, which has no rows to "
                "select; accepted are questions and answers. Name texts by forget=..., if the data module has it."
            )
        encoder = self._encoder

        def load_all() -> list[Row]:
            return source.rows_that_fit(encoder) if isinstance(source, PairSource) else load(source, f"stream {name}")

        rows, total = self._cuts.of(name, (self.start, self.stop), encoder.tokenizer, load_all)
        if self.stop > total:
            raise ValueError(f"rows=[{self.start}, {self.stop}]: the stream {name!r} has only {total} rows.")
        return rows

    def _asked_again(self, split: SplitSource | None) -> list[EvaluationRow]:
        rows = self._chosen("forget", self.data.load_streams()["forget"])
        if split is None:
            return load_split(rows, "stream 'forget'")
        tokenizer = self._encoder.tokenizer
        same = self._cuts.evaluated(rows, tokenizer, lambda: load_split(split, "split 'forget'"))
        return same or load_split(rows, "stream 'forget'")
