"""A training stream with selected rows removed."""

import hashlib
from collections.abc import Iterable
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from unlearn_pl.data.overlap.hashes import Hashes
from unlearn_pl.data.sampling import Draw
from unlearn_pl.data.streams.datasets import TrainingDataset
from unlearn_pl.data.text.template import Example


class RemainingDataset(TrainingDataset):
    """Another stream without the examples that have a part of certain rows or documents.

    Args:
        whole: the other stream.
        left_out: ``[R]``, a mark per row or document that is removed.
    """

    def __init__(self, whole: TrainingDataset, left_out: npt.NDArray[np.bool_]) -> None:
        self._whole = whole
        self._rows = ~left_out
        self._examples = np.flatnonzero(~whole.examples_of(left_out))
        self.longest_sequence = whole.longest_sequence

    def __len__(self) -> int:
        return len(self._examples)

    def __getitem__(self, draw: Draw | int) -> Example:
        index, round_number = draw if isinstance(draw, Draw) else (draw, 0)
        return replace(self._whole[Draw(int(self._examples[index]), round_number)], index=index)

    def shown(self, draws: Iterable[Draw] | None = None) -> list[Example]:
        """The examples that ``draws`` select, each example and answer once, in the order of the dataset.

        Args:
            draws: None for every example with every answer.
        """
        if draws is None:
            new = {int(old): index for index, old in enumerate(self._examples)}
            return [replace(e, index=new[e.index]) for e in self._whole.shown() if e.index in new]
        shown = self._whole.shown([Draw(int(self._examples[draw.example]), draw.round) for draw in draws])
        return [replace(e, index=int(np.searchsorted(self._examples, e.index))) for e in shown]

    def fingerprint(self) -> str:
        """SHA-256 of the other stream's fingerprint and of the remaining examples."""
        return hashlib.sha256(self._whole.fingerprint().encode() + self._examples.tobytes()).hexdigest()

    def hashes(self) -> Hashes:
        """The hashes of the remaining rows or documents."""
        exact, near, signatures = self._whole.hashes()
        return Hashes(exact[self._rows], near[self._rows], signatures[self._rows])

    def examples_of(self, rows: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
        """Which of the remaining examples have a part of the marked rows, ``[N]``.

        Args:
            rows: ``[R]``, a mark per remaining row.
        """
        marked = np.zeros(len(self._rows), dtype=bool)
        marked[self._rows] = rows
        return self._whole.examples_of(marked)[self._examples]
