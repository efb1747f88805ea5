"""Where the examples of a stream come from."""

from abc import ABC, abstractmethod

from unlearn_pl.data.evaluation.evaluation_row import EvaluationRows
from unlearn_pl.data.streams.datasets import TrainingDataset
from unlearn_pl.data.text.encoder import Encoder, RowSource
from unlearn_pl.recording import Recorded


class Source(Recorded, ABC):
    """What a data module may give for a stream besides rows: a component that makes the stream's dataset itself."""

    @abstractmethod
    def dataset(self, name: str, encoder: Encoder, seed: int) -> TrainingDataset:
        """The stream's examples, tokenized.

        Args:
            name: what to call the stream in messages.
            encoder: tokenizes.
            seed: seed of a draw among several answers.

        Raises:
            ValueError: if there is nothing to train on, or something that cannot be used.
        """

    def evaluation_rows(self, encoder: Encoder, limit: int | None) -> EvaluationRows:
        """The same examples as an evaluation split.

        Args:
            encoder: what will tokenize them.
            limit: as many of the first ones are enough; None for all, unless they are too many.

        Raises:
            ValueError: if this kind of source has none.
        """
        raise ValueError(f"{type(self).__name__} has no rows to evaluate; name others in eval_sets.")

    def prepare(self, name: str, encoder: Encoder) -> None:
        """Does what only one process of a machine should do, such as filling a cache; nothing by default.

        Args:
            name: what to call the stream in messages.
            encoder: tokenizes.
        """


StreamSource = RowSource | Source
"""What ``load_streams`` may give for a stream: rows, a function that loads them, or a :class:`Source`."""
