"""Prompts with a forget and a retain question each."""

import random
from collections.abc import Mapping
from functools import partial
from typing import Literal

from unlearn_pl.data.evaluation.evaluation_row import EvaluationRow, Question, SplitSource, load_split
from unlearn_pl.data.module import UnlearningDataModule
from unlearn_pl.data.requests.subset import SubsetDataModule
from unlearn_pl.data.streams.source import StreamSource
from unlearn_pl.data.text.encoder import Row

Part = Literal["forget", "retain"]


class MixedPrompts(SubsetDataModule):
    """Another data module, and two evaluation splits whose prompts ask a forget and a retain question at once.

    A model may refuse everything that sounds like the forget set, or tell all as soon as something else is asked. The
    prompts of ``mixed_forget`` and ``mixed_retain`` are the same; the expected answer is that to the forget question in
    the first, that to the retain question in the second. Every forget question is joined with another retain question
    (repeated if there are fewer), and stands first in one prompt and second in the next.

    Args:
        data: the data module; its streams and splits stay as they are.
        forget: its split with forget questions.
        retain: its split with retain questions.
        pairs_seed: seed of the pairs.

    Raises:
        ValueError: if the two splits are the same; from ``setup``, if one is missing or holds no questions of a single
            turn.

    References:
        "BLUR: A Benchmark for LLM Unlearning Robust to Forget-Retain Overlap", arXiv 2506.15699 (combined prompts; the
        pairs are drawn here).
    """

    def __init__(
        self, data: UnlearningDataModule, forget: str = "forget", retain: str = "retain", pairs_seed: int = 0
    ) -> None:
        super().__init__(data)
        if forget == retain:
            raise ValueError(f"forget and retain are both {forget!r}; accepted are two splits.")
        self.forget = forget
        self.retain = retain
        self.pairs_seed = pairs_seed
        if self.splits is not None:
            self.splits = [*self.splits, "mixed_forget", "mixed_retain"]

    def load_streams(self) -> Mapping[str, StreamSource]:
        """The streams of the data module."""
        return self.attached(self.data).load_streams()

    def load_splits(self) -> Mapping[str, SplitSource]:
        """The splits of the data module, and the two of mixed prompts."""
        splits = self.attached(self.data).load_splits()
        mixed: dict[str, SplitSource] = {f"mixed_{part}": partial(self._mixed, part) for part in ("forget", "retain")}
        return {**splits, **mixed}

    def _mixed(self, part: Part) -> list[EvaluationRow]:
        forget, retain = self._questions(self.forget), self._questions(self.retain)
        order = random.Random(f"{self.pairs_seed}/{len(retain)}").sample(range(len(retain)), len(retain))
        rows: list[EvaluationRow] = []
        for number, row in enumerate(forget):
            other = retain[order[number % len(retain)]]
            pair = (row, other) if number % 2 == 0 else (other, row)
            expected = row if part == "forget" else other
            rows.append(Question(Row(question=" ".join(q.asked() for q in pair), answer=expected.expected())))
        return rows

    def _questions(self, split: str) -> list[Question]:
        splits = self.attached(self.data).load_splits()
        if split not in splits:
            raise ValueError(f"MixedPrompts needs the split {split!r}; there are {', '.join(splits)}.")
        rows = load_split(splits[split], f"split {split!r}")[: self.max_eval_examples]
        found = [row for row in rows if isinstance(row, Question) and isinstance(row.row["question"], str)]
        if len(found) < len(rows):
            raise ValueError(f"MixedPrompts needs questions of a single turn; the split {split!r} has other rows.")
        return found
