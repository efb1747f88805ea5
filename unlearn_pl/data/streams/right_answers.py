"""Training streams of an evaluation split's rows with their correct answers."""

import hashlib
import json
from abc import abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import replace

from unlearn_pl.data.evaluation.evaluation_row import EvaluationRow
from unlearn_pl.data.overlap.hashes import Hashes, hashes_of
from unlearn_pl.data.sampling import Draw
from unlearn_pl.data.streams.datasets import TrainingDataset
from unlearn_pl.data.streams.source import Source
from unlearn_pl.data.text.encoder import Encoder
from unlearn_pl.data.text.template import Example


class RightAnswers(Source):
    """Rows of an evaluation split as a stream: training on the correct answers, in exactly the form of the evaluation.

    For models that are too small to answer from the texts they have read, and for relearning attacks. Results on the
    same rows then show what the model remembers, and nothing about what it can infer.

    Args:
        size: number of rows, from the first one; None for all.

    Raises:
        ValueError: if ``size`` is not positive.
    """

    def __init__(self, size: int | None = None) -> None:
        if size is not None and size < 1:
            raise ValueError(f"size={size} must be positive; None is for all rows.")
        self.size = size

    @abstractmethod
    def rows(self) -> Sequence[EvaluationRow]:
        """All rows, each with one correct answer.

        Raises:
            ValueError: naming file, line and reason, if a row cannot be used.
        """

    def dataset(self, name: str, encoder: Encoder, seed: int = 0) -> "RightAnswersDataset":
        """The correct answer of every row."""
        return RightAnswersDataset(name, self.rows()[: self.size], encoder)

    def evaluation_rows(self, encoder: Encoder, limit: int | None) -> Sequence[EvaluationRow]:
        """The same rows, with their other answers as well."""
        return self.rows()[: self.size][:limit]


class RightAnswersDataset(TrainingDataset):
    """The correct answers of evaluation rows.

    Args:
        name: name of the stream.
        rows: the rows.
        encoder: tokenizes them.

    Raises:
        ValueError: if there are no rows, or one has no answer to score or is too long.
    """

    def __init__(self, name: str, rows: Sequence[EvaluationRow], encoder: Encoder) -> None:
        if not rows:
            raise ValueError(f"The stream {name!r} is empty: it has no rows.")
        self._examples = [
            replace(_right(row.examples(encoder, f"row {index} of the stream {name!r}")), index=index)
            for index, row in enumerate(rows)
        ]
        self._contents = [row.content() for row in rows]
        self.longest_sequence = max(map(len, self._examples))

    def __len__(self) -> int:
        return len(self._examples)

    def __getitem__(self, draw: Draw | int) -> Example:
        return self._examples[draw.example if isinstance(draw, Draw) else draw]

    def shown(self, draws: Iterable[Draw] | None = None) -> list[Example]:
        """The examples that ``draws`` select, each once, in the order of the rows.

        Args:
            draws: None for every example.
        """
        indices = range(len(self)) if draws is None else sorted({draw.example for draw in draws})
        return [self._examples[index] for index in indices]

    def fingerprint(self) -> str:
        """SHA-256 of all examples."""
        examples = [[example.input_ids, example.prompt_length] for example in self._examples]
        return hashlib.sha256(json.dumps(examples).encode()).hexdigest()

    def hashes(self) -> Hashes:
        """The hashes of every row."""
        return hashes_of(self._contents)


def _right(candidates: Sequence[Example]) -> Example:
    """The candidate that is the correct answer, as an example to train on."""
    (right,) = (example for example in candidates if example.choice == example.target)
    return replace(right, choice=None, target=None)
