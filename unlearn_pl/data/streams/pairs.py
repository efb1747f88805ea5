"""Base class of sources of questions with answers, whose rows fit into memory."""

from abc import abstractmethod
from collections.abc import Sequence
from typing import cast

from lightning.pytorch.utilities import rank_zero_info

from unlearn_pl.data.io.bad_rows import OnBadRow, check_on_bad_row, usable
from unlearn_pl.data.io.entries import Table, name_of, read_entries
from unlearn_pl.data.io.in_memory import kept
from unlearn_pl.data.io.record import Record, check_columns
from unlearn_pl.data.io.recorded_rows import with_described
from unlearn_pl.data.streams.datasets import StreamDataset
from unlearn_pl.data.streams.source import Source
from unlearn_pl.data.text.encoder import Encoder, Row, TooLongError
from unlearn_pl.recording import arguments_of


class PairSource(Source):
    """Rows with questions and answers.

    Args:
        path: a file or folder, a :class:`~unlearn_pl.data.HubDataset`, or rows in memory.
        encoding: encoding of text files.
        on_bad_row: ``error`` raises at a row that cannot be used, ``skip`` skips such rows and counts them in the log.

    Raises:
        ValueError: if ``on_bad_row`` is unknown.
    """

    def __init__(self, path: Table, *, encoding: str = "utf-8", on_bad_row: OnBadRow = "error") -> None:
        check_on_bad_row(on_bad_row)
        self.path = kept(path)
        self.encoding = encoding
        self.on_bad_row: OnBadRow = on_bad_row

    def recorded_arguments(self) -> dict[str, object]:
        """The arguments, with a description of rows in memory in their place."""
        return with_described(arguments_of(self), ("path",))

    @abstractmethod
    def parse(self, row: Record) -> Sequence[Row]:
        """The questions and answers of one row of the file.

        Raises:
            BadRowError: if the row cannot be used.
        """

    def rows(self) -> list[Row]:
        """All questions and answers.

        Raises:
            ValueError: naming file, line and reason, if a row cannot be used; if there are none.
        """
        entries = read_entries(self.path, encoding=self.encoding)
        return [row for rows in usable(entries, self.parse, self.on_bad_row, str(self)) for row in rows]

    def dataset(self, name: str, encoder: Encoder, seed: int = 0) -> StreamDataset:
        """The rows, laid out by the template; with ``on_bad_row='skip'`` only those that are not too long."""
        return StreamDataset(name, self.rows_that_fit(encoder), encoder, seed)

    def evaluation_rows(self, encoder: Encoder, limit: int | None) -> list[Row]:
        """The same rows, each with its answer as the only candidate, without weights."""
        rows = self.rows_that_fit(encoder)[:limit]
        return [cast(Row, {name: value for name, value in row.items() if name != "weights"}) for row in rows]

    def rows_that_fit(self, encoder: Encoder) -> list[Row]:
        """The rows to train on: those of :meth:`rows`, with ``on_bad_row='skip'`` only those that are not too long.

        Args:
            encoder: tokenizes them.

        Raises:
            ValueError: as in :meth:`rows`; if all are too long.
        """
        rows = self.rows()
        if self.on_bad_row == "error" or encoder.max_length is None:
            return rows
        fitting = [row for row in rows if _fits(row, encoder)]
        if not fitting:
            raise ValueError(f"{self}: all {len(rows)} examples have more than max_length={encoder.max_length} tokens.")
        if len(fitting) < len(rows):
            longer = f"{len(rows) - len(fitting)} of {len(rows)} examples"
            rank_zero_info(f"{self}: {longer} have more than max_length={encoder.max_length} tokens and are skipped")
        return fitting

    def values_of(self, name: str, encoder: Encoder) -> list[object]:
        """The values of a column of the file, one for each row of :meth:`rows_that_fit`.

        Args:
            name: of the column.
            encoder: tokenizes the rows.

        Raises:
            ValueError: if a row of the file has no such column.
        """

        def parse(record: Record) -> list[tuple[Row, object]]:
            rows = self.parse(record)
            check_columns(record, [name])
            return [(row, record[name]) for row in rows]

        entries = read_entries(self.path, encoding=self.encoding)
        pairs = [pair for pairs in usable(entries, parse, self.on_bad_row, str(self)) for pair in pairs]
        fits = self.on_bad_row == "error" or encoder.max_length is None
        return [value for row, value in pairs if fits or _fits(row, encoder)]

    def __str__(self) -> str:
        return f"{type(self).__name__} of {name_of(self.path)}"


def _fits(row: Row, encoder: Encoder) -> bool:
    answers = row["answer"]
    try:
        for answer in [answers] if isinstance(answers, str) else answers:
            encoder.example(row["question"], answer, "a row")
    except TooLongError:
        return False
    return True
