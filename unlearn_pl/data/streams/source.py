"""Base class of training-stream sources."""

from abc import ABC, abstractmethod

from unlearn_pl.data.evaluation.evaluation_row import EvaluationRows
from unlearn_pl.data.streams.datasets import TrainingDataset
from unlearn_pl.data.text.encoder import Encoder, RowSource
from unlearn_pl.recording import Recorded


class Source(Recorded, ABC):
    """A component that builds a stream's data set; ``load_streams`` may return one instead of rows."""

    @abstractmethod
    def dataset(self, name: str, encoder: Encoder, seed: int) -> TrainingDataset:
        """The stream's examples, tokenized.

        Args:
            name: what to call the stream in messages.
            encoder: tokenizes.
            seed: seed of the draw among several answers.

        Raises:
            ValueError: if there is nothing to train on, or a row cannot be used.
        """

    def evaluation_rows(self, encoder: Encoder, limit: int | None) -> EvaluationRows:
        """The same examples as an evaluation split.

        Args:
            encoder: tokenizes them.
            limit: number of rows that are used, from the first one; None for all, or as many as are reasonable.

        Raises:
            ValueError: if this kind of source has none.
        """
        raise ValueError(f"{type(self).__name__} has no rows to evaluate; name others in eval_sets.")

    def prepare(self, name: str, encoder: Encoder) -> None:
        """Preparation by one process of every node, such as filling a cache; nothing by default.

        Args:
            name: what to call the stream in messages.
            encoder: tokenizes.
        """


StreamSource = RowSource | Source
"""What ``load_streams`` may return for a stream: rows, a function that loads them, or a :class:`Source`."""
