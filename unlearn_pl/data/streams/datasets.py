"""Tokenized training streams: the base class, and the one for questions and answers."""

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
from torch import Tensor
from torch.utils.data import Dataset

from unlearn_pl.data.overlap.hashes import Hashes, hashes_of
from unlearn_pl.data.sampling import Draw, stable_hash
from unlearn_pl.data.text.answer_weights import answer_weights
from unlearn_pl.data.text.encoder import Encoder, Rows
from unlearn_pl.data.text.template import Example

ScoreExamples = Callable[[Sequence[Example]], Tensor]
"""Mean negative log-likelihood per scored token of each of n examples under the current model: ``[n]``."""


class TrainingDataset(Dataset[Example], ABC):
    """A training stream, tokenized.

    Attributes:
        longest_sequence: number of tokens of its longest example.
        is_refreshed: whether :meth:`refresh` changes what it shows.
    """

    longest_sequence: int
    is_refreshed: bool = False

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def __getitem__(self, draw: Draw | int) -> Example: ...

    @abstractmethod
    def shown(self, draws: Iterable[Draw] | None = None) -> list[Example]:
        """The examples that ``draws`` select, each example and answer once, in the order of the dataset.

        Args:
            draws: None for every example with every answer.
        """

    @abstractmethod
    def fingerprint(self) -> str:
        """SHA-256 of all examples, as template and tokenizer lay them out."""

    @abstractmethod
    def hashes(self) -> Hashes:
        """Hashes of the rows or documents that the examples come from, which identify duplicates."""

    def refresh(self, epoch: int, score: ScoreExamples) -> None:
        """Choose what an epoch shows; nothing by default.

        Args:
            epoch: number of the epoch that is about to begin.
            score: the ``[n]`` losses of n examples under the current model; all ranks call it equally often, and get
                equal values.
        """
        return

    def state_dict(self) -> Mapping[str, Any]:
        """What was chosen, for :meth:`load_state_dict`: tensors and plain values; empty if nothing is."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Resume with what was chosen; nothing by default."""
        return

    def examples_of(self, rows: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
        """Which examples have a part of the marked rows or documents, ``[N]``; by default an example is a row.

        Args:
            rows: ``[R]``, a mark per row or document, in the order of :meth:`hashes`.
        """
        return rows

    def rows_of(self, examples: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
        """Which rows or documents have a part in the marked examples, ``[R]``; by default an example is a row.

        Args:
            examples: ``[N]``, a mark per example.
        """
        return examples


class StreamDataset(TrainingDataset):
    """A training stream of questions and answers.

    Which of several answers of a row is shown depends only on the seed, the round and the index.

    Args:
        name: name of the stream.
        rows: its rows.
        encoder: tokenizes them.
        seed: seed of the draw among several answers.
    """

    def __init__(self, name: str, rows: Rows, encoder: Encoder, seed: int = 0) -> None:
        self.name = name
        self.seed = seed
        self._encoder = encoder
        self._questions = [row["question"] for row in rows]
        self._answers = [_as_list(row["answer"]) for row in rows]
        self._weights = [row.get("weights") for row in rows]
        self._encoded: dict[tuple[int, int], Example] = {}
        self.longest_sequence = self._encode_longest()

    def __len__(self) -> int:
        return len(self._questions)

    def __getitem__(self, draw: Draw | int) -> Example:
        index, round_number = draw if isinstance(draw, Draw) else (draw, 0)
        return self._encode(index, self._choice(index, round_number))

    def shown(self, draws: Iterable[Draw] | None = None) -> list[Example]:
        """The examples that ``draws`` select, each example and answer once, in the order of the dataset.

        Args:
            draws: None for every example with every answer.
        """
        if draws is None:
            choices = {(index, choice) for index, answers in enumerate(self._answers) for choice in range(len(answers))}
        else:
            choices = {(draw.example, self._choice(draw.example, draw.round)) for draw in draws}
        return [self._encode(index, choice) for index, choice in sorted(choices)]

    def fingerprint(self) -> str:
        """SHA-256 of all questions and answers, and of how template and tokenizer lay them out."""
        digest = hashlib.sha256()
        for index, answers in enumerate(self._answers):
            longest = self._encode(index, _longest(answers))
            row = [self._questions[index], list(answers), longest.input_ids, longest.prompt_length]
            weights = [] if longest.weights is None else [longest.weights]
            digest.update(json.dumps(row + weights).encode())
        return digest.hexdigest()

    def hashes(self) -> Hashes:
        """The hashes of every question with its answers."""
        return hashes_of(
            "\n".join([str(question), *answers])
            for question, answers in zip(self._questions, self._answers, strict=True)
        )

    def _choice(self, index: int, round_number: int) -> int:
        return stable_hash(self.seed, self.name, round_number, index) % len(self._answers[index])

    def _encode(self, index: int, choice: int) -> Example:
        if (index, choice) not in self._encoded:
            where = f"row {index} of the stream {self.name!r}"
            example = self._encoder.example(self._questions[index], self._answers[index][choice], where)
            self._encoded[index, choice] = replace(example, index=index, weights=self._weigh(index, choice, example))
        return self._encoded[index, choice]

    def _weigh(self, index: int, choice: int, example: Example) -> list[float] | None:
        """The weights of the scored tokens of ``example``; None if its row has none."""
        given = self._weights[index]
        if given is None:
            return None
        where = f"row {index} of the stream {self.name!r}"
        tokens = example.input_ids[example.prompt_length :]
        return answer_weights(tokens, self._answers[index][choice], given, self._encoder.tokenizer, where)

    def _encode_longest(self) -> int:
        # All pairs of a question and one of many answers would take long: each question gets its longest answer,
        # and the longest question all of them. Errors and the length are then known before training.
        for index, answers in enumerate(self._answers):
            # Weights name parts of the answers, which each of these must have.
            for choice in [_longest(answers)] if self._weights[index] is None else range(len(answers)):
                self._encode(index, choice)
        (longest, _), _ = max(self._encoded.items(), key=lambda item: item[1].prompt_length)
        for choice in range(len(self._answers[longest])):
            self._encode(longest, choice)
        return max(map(len, self._encoded.values()))


def _longest(answers: Sequence[str]) -> int:
    """Position of the answer with the most characters."""
    return max(range(len(answers)), key=lambda choice: len(answers[choice]))


def _as_list(answer: str | Sequence[str]) -> Sequence[str]:
    return [answer] if isinstance(answer, str) else answer
