"""A stream of the worst of several views under the current model."""

import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from lightning.pytorch.utilities import rank_zero_info
from torch import Tensor

from unlearn_pl.data.evaluation.evaluation_row import EvaluationRow, load_split
from unlearn_pl.data.overlap.hashes import Hashes, hashes_of
from unlearn_pl.data.sampling import Draw, stable_hash
from unlearn_pl.data.streams.datasets import ScoreExamples, TrainingDataset
from unlearn_pl.data.streams.right_answers import RightAnswersDataset
from unlearn_pl.data.streams.source import Source, StreamSource
from unlearn_pl.data.text.encoder import Encoder
from unlearn_pl.data.text.template import Example
from unlearn_pl.data.views.row_views import RowViews


class StaggeredViews(Source):
    """Every row of a source in the view that leaks most, chosen anew every ``period`` epochs (staggered training).

    Before an epoch whose number is a multiple of ``period``, ``candidates`` views of every row are drawn, and scored
    by forward passes alone: the one whose answer has the smallest mean negative log-likelihood per token is trained on
    for the next ``period`` epochs. With one candidate, nothing is scored: views are random. Rows without a view are
    used as they are, and counted in the log.

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
    """The views of every row in a round; the row itself where it has none."""
    rngs = (random.Random(stable_hash("views", seed, name, round_number, index)) for index in range(len(rows)))
    return [views.several(row, candidates, rng) or [row] for row, rng in zip(rows, rngs, strict=True)]


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
        self._scored_round = -1
        self._take(0, [0] * len(rows))
        plain = [views[0] is row for views, row in zip(self._views, rows, strict=True)]
        if all(plain):
            raise ValueError(f"The stream {name!r} has no views: none of its {len(rows)} rows can be rewritten safely.")
        if any(plain):
            rank_zero_info(f"{name}: {sum(plain)} of {len(rows)} rows have no view and are used as they are")
        self.longest_sequence = max(len(example) for examples in self._examples() for example in examples)

    def _take(self, round_number: int, choices: Sequence[int]) -> None:
        self._round, self.choices = round_number, list(choices)
        self._views = self._offer(round_number)
        chosen = [views[choice] for views, choice in zip(self._views, choices, strict=True)]
        self._chosen = RightAnswersDataset(self.name, chosen, self._encoder)

    def _examples(self) -> list[list[Example]]:
        where = f"a view of the stream {self.name!r}"
        return [[view.examples(self._encoder, where)[0] for view in views] for views in self._views]

    def refresh(self, epoch: int, score: ScoreExamples) -> None:
        """See :meth:`TrainingDataset.refresh`: choose the views that leak most, once per round."""
        round_number = epoch // self.period
        if round_number == self._scored_round:
            return
        self._take(round_number, [0] * len(self._rows))
        examples = self._examples()
        if any(len(of_row) > 1 for of_row in examples):
            losses = score([example for of_row in examples for example in of_row]).split([len(e) for e in examples])
            self._take(round_number, [_smallest(of_row) for of_row in losses])
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
        offered = self._offer(max(state["round"], 0))
        fits = len(choices) == len(offered) and all(0 <= c < len(v) for c, v in zip(choices, offered, strict=True))
        if not fits:
            raise ValueError(f"The checkpoint chose views of other rows than those of the stream {self.name!r}.")
        self._take(max(state["round"], 0), choices)
        self._scored_round = state["round"]

    def __len__(self) -> int:
        return len(self._chosen)

    def __getitem__(self, draw: Draw | int) -> Example:
        return self._chosen[draw]

    def shown(self, draws: Iterable[Draw] | None = None) -> list[Example]:
        """Raises ``ValueError``: which views are shown depends on the model."""
        raise ValueError(
            f"The views of the stream {self.name!r} are chosen under the current model, so that outputs of the "
            "reference model cannot be computed beforehand. Accepted: FrozenReference(), AdapterReference() with LoRA."
        )

    def fingerprint(self) -> str:
        """SHA-256 of the rows as they are."""
        return RightAnswersDataset(self.name, self._rows, self._encoder).fingerprint()

    def hashes(self) -> Hashes:
        """The hashes of the rows as they are."""
        return hashes_of(row.content() for row in self._rows)


def _smallest(losses: Tensor) -> int:
    """The position of the smallest loss ``[n]``; the first one of several, and never that of a NaN."""
    return int(losses.nan_to_num(nan=torch.inf).argmin())
