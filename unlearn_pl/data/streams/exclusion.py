"""Training streams with a part of another one's examples."""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from unlearn_pl.data.overlap.hashes import Hashes
from unlearn_pl.data.sampling import Draw
from unlearn_pl.data.streams.datasets import ScoreExamples, TrainingDataset
from unlearn_pl.data.text.template import Example


class PickedDataset(TrainingDataset):
    """Some examples of another stream.

    Args:
        whole: the other stream.
        examples: their numbers there, ascending.
    """

    def __init__(self, whole: TrainingDataset, examples: npt.NDArray[np.int64]) -> None:
        self._whole = whole
        self._examples = examples
        self._is_picked = np.zeros(len(whole), dtype=bool)
        self._is_picked[examples] = True
        self.longest_sequence = whole.longest_sequence
        self.is_refreshed = whole.is_refreshed

    def refresh(self, epoch: int, score: ScoreExamples) -> None:
        """Let the other stream choose what it shows."""
        self._whole.refresh(epoch, score)

    def state_dict(self) -> Mapping[str, Any]:
        """What the other stream has chosen."""
        return self._whole.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Resume with what the other stream has chosen."""
        self._whole.load_state_dict(state)

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
            shown = [example for example in self._whole.shown() if self._is_picked[example.index]]
        else:
            shown = self._whole.shown([Draw(int(self._examples[draw.example]), draw.round) for draw in draws])
        return [replace(e, index=int(np.searchsorted(self._examples, e.index))) for e in shown]

    def fingerprint(self) -> str:
        """SHA-256 of the other stream's fingerprint and of the picked examples."""
        return hashlib.sha256(self._whole.fingerprint().encode() + self._examples.tobytes()).hexdigest()

    def hashes(self) -> Hashes:
        """The hashes of the rows or documents that a picked example has a part of."""
        exact, near, signatures = self._whole.hashes()
        return Hashes(exact[self._rows], near[self._rows], signatures[self._rows])

    def examples_of(self, rows: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
        """Which of the picked examples have a part of the marked rows, ``[N]``.

        Args:
            rows: ``[R]``, a mark per row, in the order of :meth:`hashes`.
        """
        marked = np.zeros(len(self._rows), dtype=bool)
        marked[self._rows] = rows
        return self._whole.examples_of(marked)[self._examples]

    def rows_of(self, examples: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
        """Which rows have a part in the marked examples, ``[R]``.

        Args:
            examples: ``[N]``, a mark per picked example.
        """
        marked = np.zeros(len(self._whole), dtype=bool)
        marked[self._examples] = examples
        return self._whole.rows_of(marked)[self._rows]

    @property
    def _rows(self) -> npt.NDArray[np.bool_]:
        """Which rows of the other stream are here."""
        return self._whole.rows_of(self._is_picked)


class RemainingDataset(PickedDataset):
    """Another stream without the examples that have a part of certain rows or documents.

    Args:
        whole: the other stream.
        left_out: ``[R]``, a mark per row or document that is removed.
    """

    def __init__(self, whole: TrainingDataset, left_out: npt.NDArray[np.bool_]) -> None:
        super().__init__(whole, np.flatnonzero(~whole.examples_of(left_out)))
        self._remaining = ~left_out

    @property
    def _rows(self) -> npt.NDArray[np.bool_]:
        return self._remaining
