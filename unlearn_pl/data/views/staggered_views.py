"""A stream of the worst of several views under the current model."""

import hashlib
import json
import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from lightning.pytorch.utilities import rank_zero_info
from torch import Tensor

from unlearn_pl.data.evaluation.evaluation_row import EvaluationRow, load_split
from unlearn_pl.data.overlap.hashes import Hashes, hashes_of
from unlearn_pl.data.sampling import Draw, stable_hash
from unlearn_pl.data.streams.datasets import ScoreExamples, TrainingDataset
from unlearn_pl.data.streams.source import Source, StreamSource
from unlearn_pl.data.text.encoder import Encoder, TooLongError
from unlearn_pl.data.text.template import Example
from unlearn_pl.data.views.row_views import RowViews


class StaggeredViews(Source):
    """Every row of a source in the view that leaks most, chosen anew every ``period`` epochs (staggered training).

    Before an epoch whose number is a multiple of ``period``, ``candidates`` views of every row are drawn, and scored
    by forward passes alone: the one whose answer has the smallest mean negative log-likelihood per token is trained on
    for the next ``period`` epochs. With one candidate, nothing is scored: views are random. Rows without a view, and
    those whose views are all too long, are used as they are, and counted in the log.

    As a companion (``forget.adversarial`` beside ``forget``), the stream has the same rows in the same order.

    Args:
        source: the rows.
        views: other forms of them.
        candidates: views per row to choose from.
        period: epochs between two choices.

    Raises:
        ValueError: if a number is not positive; when the rows are read, if they have no views at all.

    References:
        Jia et al., CLAWSAT: Towards Both Robust and Accurate Code Models, SANER 2023, arXiv 2211.11709 (SAT).
    """

    def __init__(self, source: StreamSource, views: RowViews, candidates: int = 8, period: int = 5) -> None:
        if candidates < 1 or period < 1:
            raise ValueError(f"candidates={candidates}, period={period}; accepted are positive numbers.")
        self.source = source
        self.views = views
        self.candidates = candidates
        self.period = period

    def rows(self, name: str, encoder: Encoder) -> list[EvaluationRow]:
        """The rows as they are in the source."""
        given = self.source.evaluation_rows(encoder, None) if isinstance(self.source, Source) else self.source
        return load_split(given, f"stream {name!r}")

    def dataset(self, name: str, encoder: Encoder, seed: int = 0) -> "StaggeredDataset":
        """The rows with their views; random ones, until they are chosen for the first time."""
        rows = self.rows(name, encoder)
        self.views.check(rows)
        offer = partial(_offer, self.views, self.candidates, seed, name, rows)
        return StaggeredDataset(name, rows, offer, encoder, self.period)


def _offer(
    views: RowViews, candidates: int, seed: int, name: str, rows: Sequence[EvaluationRow], round_number: int
) -> list[list[EvaluationRow]]:
    """The views of every row in a round; none where it has none."""
    rngs = (random.Random(stable_hash("views", seed, name, round_number, index)) for index in range(len(rows)))
    return [views.several(row, candidates, rng) for row, rng in zip(rows, rngs, strict=True)]


class StaggeredDataset(TrainingDataset):
    """Rows in the views that were chosen last.

    Args:
        name: name of the stream.
        rows: the rows.
        offer: number of a round to the views of every row.
        encoder: tokenizes them.
        period: epochs per round.

    Attributes:
        choices: per row, which of its views is in use.

    Raises:
        ValueError: if no row has a view.
    """

    is_refreshed = True

    def __init__(
        self,
        name: str,
        rows: Sequence[EvaluationRow],
        offer: Callable[[int], list[list[EvaluationRow]]],
        encoder: Encoder,
        period: int,
    ) -> None:
        self.name, self.period = name, period
        self._offer, self._encoder = offer, encoder
        self._rows = rows
        self._originals = [_example(row, encoder, f"row {i} of the stream {name!r}") for i, row in enumerate(rows)]
        self._scored_round = -1
        self._enter(0)
        plain = sum(views == [row] for views, row in zip(self._examples, self._originals, strict=True))
        if plain == len(rows):
            raise ValueError(f"The stream {name!r} has no views: none of its {len(rows)} rows can be rewritten safely.")
        if plain:
            rank_zero_info(f"{name}: {plain} of {len(rows)} rows have no view and are used as they are")
        self.longest_sequence = max(len(example) for examples in self._examples for example in examples)

    def _enter(self, round_number: int) -> None:
        """Tokenize the views of a round, and show the first of each row."""
        self._examples = [
            _fitting(views, self._encoder, f"a view of the stream {self.name!r}") or [original]
            for views, original in zip(self._offer(round_number), self._originals, strict=True)
        ]
        self.choices = [0] * len(self._rows)

    def refresh(self, epoch: int, score: ScoreExamples) -> None:
        """See :meth:`TrainingDataset.refresh`: choose the views that leak most, once per round."""
        round_number = epoch // self.period
        if round_number == self._scored_round:
            return
        self._enter(round_number)
        if any(len(of_row) > 1 for of_row in self._examples):
            losses = score([example for of_row in self._examples for example in of_row])
            self.choices = [_smallest(of_row) for of_row in losses.split([len(of_row) for of_row in self._examples])]
        self._scored_round = round_number

    def state_dict(self) -> Mapping[str, Any]:
        """The round and the choices."""
        return {"round": self._scored_round, "choices": torch.tensor(self.choices)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Resume with the same views.

        Raises:
            ValueError: if the choices are of other rows.
        """
        choices = state["choices"].tolist()
        self._enter(max(state["round"], 0))
        counts = [len(of_row) for of_row in self._examples]
        if len(choices) != len(counts) or not all(0 <= c < n for c, n in zip(choices, counts, strict=True)):
            raise ValueError(f"The checkpoint chose views of other rows than those of the stream {self.name!r}.")
        self.choices, self._scored_round = choices, state["round"]

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, draw: Draw | int) -> Example:
        index = draw.example if isinstance(draw, Draw) else draw
        return replace(self._examples[index][self.choices[index]], index=index)

    def shown(self, draws: Iterable[Draw] | None = None) -> list[Example]:
        """Raises ``ValueError``: which views are shown depends on the model."""
        raise ValueError(
            f"The views of the stream {self.name!r} are chosen under the current model, so that outputs of the "
            "reference model cannot be computed beforehand. Accepted: FrozenReference(), AdapterReference() with LoRA."
        )

    def fingerprint(self) -> str:
        """SHA-256 of the rows as they are."""
        examples = [[example.input_ids, example.prompt_length] for example in self._originals]
        return hashlib.sha256(json.dumps(examples).encode()).hexdigest()

    def hashes(self) -> Hashes:
        """The hashes of the rows as they are."""
        return hashes_of(row.content() for row in self._rows)


def _smallest(losses: Tensor) -> int:
    """The position of the smallest loss ``[n]``; the first one of several, and never that of a NaN."""
    return int(losses.nan_to_num(nan=torch.inf).argmin())


def _example(row: EvaluationRow, encoder: Encoder, where: str) -> Example:
    """The correct answer of a row, as an example to train on: candidate 0 of questions, the only one of programs."""
    return replace(row.examples(encoder, where)[0], choice=None, target=None)


def _fitting(views: Sequence[EvaluationRow], encoder: Encoder, where: str) -> list[Example]:
    """The views that are not longer than the encoder accepts, which would otherwise end a run between two epochs."""
    found = []
    for view in views:
        with suppress(TooLongError):
            found.append(_example(view, encoder, where))
    return found
