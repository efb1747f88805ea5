"""Sequences of token ids as a training stream and as an evaluation split, without any text."""

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from unlearn_pl.data import Draw, Encoder, EvaluationRow, Example, Source, TrainingDataset
from unlearn_pl.data.overlap.hashes import Hashes, hashes_of

Tokens = Sequence[Sequence[int]]


class SequenceDataset(TrainingDataset):
    """Sequences of which every token is scored but the first.

    Args:
        sequences: token ids.
    """

    def __init__(self, sequences: Tokens) -> None:
        self._sequences = sequences
        self.longest_sequence = max(map(len, sequences))

    def __len__(self) -> int:
        return len(self._sequences)

    def __getitem__(self, draw: Draw | int) -> Example:
        index = draw.example if isinstance(draw, Draw) else draw
        return Example(list(self._sequences[index]), prompt_length=1, index=index)

    def shown(self, draws: Iterable[Draw] | None = None) -> list[Example]:
        """The sequences that ``draws`` show, each once; all of them when None."""
        indices = range(len(self)) if draws is None else sorted({draw.example for draw in draws})
        return [self[index] for index in indices]

    def fingerprint(self) -> str:
        """SHA-256 of all sequences."""
        return hashlib.sha256(json.dumps([list(sequence) for sequence in self._sequences]).encode()).hexdigest()

    def hashes(self) -> Hashes:
        """Of every sequence."""
        return hashes_of(" ".join(map(str, sequence)) for sequence in self._sequences)


class Sequences(Source):
    """A stream of token ids that are there already, so that there is nothing to tokenize.

    Args:
        sequences: token ids; at least one sequence, and two tokens in each.

    Raises:
        ValueError: if there is nothing to score.
    """

    def __init__(self, sequences: Tokens) -> None:
        if not sequences or min(map(len, sequences)) < 2:
            raise ValueError(f"{len(sequences)} sequences; accepted: at least one, of two tokens or more each.")
        self.sequences = sequences

    def dataset(self, name: str, encoder: Encoder, seed: int = 0) -> SequenceDataset:
        """The sequences as they are."""
        return SequenceDataset(self.sequences)


@dataclass(frozen=True)
class SequenceRow(EvaluationRow):
    """One sequence of an evaluation split.

    Args:
        tokens: at least two token ids.
    """

    tokens: tuple[int, ...]

    def examples(self, encoder: Encoder, where: str) -> list[Example]:
        """The sequence, every token scored but the first."""
        return [Example(list(self.tokens), prompt_length=1, choice=0)]

    def content(self) -> str:
        """The token ids."""
        return " ".join(map(str, self.tokens))
