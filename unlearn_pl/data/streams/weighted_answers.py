"""Questions with answers whose tokens have weights, from a file of their own."""

from collections.abc import Sequence
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file

from unlearn_pl.data.io.entries import Table, name_of, read_entries
from unlearn_pl.data.io.in_memory import kept
from unlearn_pl.data.io.record import BadRowError, Record, check_columns
from unlearn_pl.data.io.recorded_rows import with_described
from unlearn_pl.data.streams.pairs import PairSource
from unlearn_pl.data.text.answer_weights import Weights
from unlearn_pl.data.text.encoder import Row
from unlearn_pl.recording import arguments_of


class WeightedAnswers(PairSource):
    """The rows of another source, with weights of their tokens from a file, such as learned ones.

    The file has an entry per row, in the order of the rows:

    * ``jsonl`` (and the other formats of rows): a column ``weights``, with a number per scored token of the answer, the
      end of its turn included, or with entries ``{"span": "Osk", "weight": 2.0}``;
    * ``safetensors``: a tensor ``weights`` with the numbers of all rows, one row after another, and a tensor
      ``lengths`` with how many of them each row has.

    Args:
        source: the rows.
        weights: the file, or rows in memory.

    Raises:
        ValueError: when the rows are read, if the file cannot be read, or has more or fewer entries than there are
            rows; when they are tokenized, if weights do not fit the answer.
    """

    def __init__(self, source: PairSource, weights: Table) -> None:
        super().__init__(source.path, encoding=source.encoding, on_bad_row=source.on_bad_row)
        self.source = source
        self.weights = kept(weights)

    def recorded_arguments(self) -> dict[str, object]:
        """The arguments, with a description of weights in memory in their place."""
        return with_described(arguments_of(self), ("weights",))

    def parse(self, row: Record) -> Sequence[Row]:
        """The questions and answers of a row of the source, without weights."""
        return self.source.parse(row)

    def rows(self) -> list[Row]:
        """The rows of the source, with their weights."""
        rows, weights = self.source.rows(), self._read()
        if len(rows) != len(weights):
            raise ValueError(
                f"{name_of(self.weights)} has weights of {len(weights)} rows, and {self.source} has {len(rows)} rows; "
                "accepted: one entry per row, in their order."
            )
        return [Row(**{**row, "weights": given}) for row, given in zip(rows, weights, strict=True)]

    def _read(self) -> list[Weights]:
        if isinstance(self.weights, str | Path) and str(self.weights).endswith(".safetensors"):
            return _of_tensors(self.weights)
        return [_of_entry(place, row) for place, row in read_entries(self.weights)]


def _of_entry(place: str, row: Record | BadRowError) -> Weights:
    try:
        if isinstance(row, BadRowError):
            raise row
        check_columns(row, ("weights",))
    except BadRowError as error:
        raise ValueError(f"{place}: {error}.") from error
    return row["weights"]  # type: ignore[return-value]  # checked with the tokens that they belong to


def _of_tensors(path: str | Path) -> list[Weights]:
    try:
        tensors = load_file(path)
    except (OSError, SafetensorError) as error:
        raise ValueError(f"The weights {str(path)!r} cannot be read: {error}") from error
    if not {"weights", "lengths"} <= tensors.keys():
        raise ValueError(f"{str(path)!r} has the tensors {sorted(tensors)}; accepted: 'weights' and 'lengths'.")
    weights, lengths = tensors["weights"].double(), tensors["lengths"].long()
    is_vector = weights.ndim == lengths.ndim == 1
    if not is_vector or ((lengths < 0) | (lengths > len(weights))).any() or lengths.sum() != len(weights):
        raise ValueError(
            f"{str(path)!r} has weights {list(weights.shape)} and lengths {list(lengths.shape)} that add up to "
            f"{int(lengths.sum())}; accepted: lengths that add up to the number of weights."
        )
    return [part.tolist() for part in weights.split(lengths.tolist())]
