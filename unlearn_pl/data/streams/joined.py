"""Concatenation of several sources."""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from unlearn_pl.data.overlap.hashes import Hashes
from unlearn_pl.data.sampling import Draw
from unlearn_pl.data.streams.datasets import TrainingDataset
from unlearn_pl.data.streams.source import Source
from unlearn_pl.data.text.encoder import Encoder
from unlearn_pl.data.text.template import Example


class Joined(Source):
    """The examples of several sources, of any kind, one source after another.

    Args:
        sources: the sources, in their order.

    Raises:
        ValueError: if there are none.
    """

    def __init__(self, sources: Sequence[Source]) -> None:
        if not sources:
            raise ValueError("sources=[] has no examples; accepted is at least one source.")
        self.sources = sources

    def prepare(self, name: str, encoder: Encoder) -> None:
        """Prepares every source."""
        for source in self.sources:
            source.prepare(name, encoder)

    def dataset(self, name: str, encoder: Encoder, seed: int = 0) -> "JoinedDataset":
        """The examples of all sources."""
        return JoinedDataset([source.dataset(name, encoder, seed) for source in self.sources])


class JoinedDataset(TrainingDataset):
    """Concatenation of several training streams.

    Args:
        parts: the streams.
    """

    def __init__(self, parts: Sequence[TrainingDataset]) -> None:
        self._parts = parts
        self._starts = np.cumsum([0, *map(len, parts)])
        self.longest_sequence = max(part.longest_sequence for part in parts)

    def __len__(self) -> int:
        return int(self._starts[-1])

    def __getitem__(self, draw: Draw | int) -> Example:
        draw = draw if isinstance(draw, Draw) else Draw(draw, 0)
        if not 0 <= draw.example < len(self):
            raise IndexError(draw.example)
        part = int(np.searchsorted(self._starts, draw.example, side="right")) - 1
        inner = Draw(draw.example - int(self._starts[part]), draw.round)
        return replace(self._parts[part][inner], index=draw.example)

    def shown(self, draws: Iterable[Draw] | None = None) -> list[Example]:
        """The examples that ``draws`` select of every part, one part after another.

        Args:
            draws: None for every example with every answer.
        """
        given = None if draws is None else list(draws)
        examples = []
        for part, start, end in zip(self._parts, self._starts, self._starts[1:], strict=False):
            inner = None
            if given is not None:
                inner = [Draw(d.example - int(start), d.round) for d in given if start <= d.example < end]
            examples += [replace(example, index=example.index + int(start)) for example in part.shown(inner)]
        return examples

    def fingerprint(self) -> str:
        """SHA-256 of the fingerprints of all parts."""
        return hashlib.sha256("".join(part.fingerprint() for part in self._parts).encode()).hexdigest()

    def hashes(self) -> Hashes:
        """The hashes of the rows of every part."""
        return Hashes(*map(np.concatenate, zip(*(part.hashes() for part in self._parts), strict=True)))

    def examples_of(self, rows: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
        """Which examples of every part have a part of the marked rows, ``[N]``.

        Args:
            rows: ``[R]``, a mark per row, one part after another.
        """
        ends = np.cumsum([len(part.hashes().exact) for part in self._parts])
        return np.concatenate(
            [part.examples_of(of) for part, of in zip(self._parts, np.split(rows, ends[:-1]), strict=True)]
        )

    def rows_of(self, examples: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
        """Which rows of every part have a part in the marked examples, ``[R]``.

        Args:
            examples: ``[N]``, a mark per example, one part after another.
        """
        marks = np.split(examples, self._starts[1:-1])
        return np.concatenate([part.rows_of(of) for part, of in zip(self._parts, marks, strict=True)])
