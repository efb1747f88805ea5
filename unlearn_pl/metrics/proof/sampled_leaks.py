"""Leaks among answers that are sampled from the model, per question."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any, ClassVar, cast

import torch
from torch import Tensor, nn

from unlearn_pl.functional import expected_maximum, leak_at_k
from unlearn_pl.metrics.base import PerExampleMetric
from unlearn_pl.metrics.proof.leak_tests import Asked, LeakTest
from unlearn_pl.metrics.scores import Scores, mean_score
from unlearn_pl.models import Sampling, sample
from unlearn_pl.types import PromptBatch, Reads

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

MAX_SAMPLES = 2**20
LEAK, BEST = "leak_at_", "best_of_"
"""Beginnings of the names of the scores; the number k follows."""


class SampledLeaks(PerExampleMetric):
    """Keeps the score of every sampled answer, and makes :func:`~unlearn_pl.functional.leak_at_k` of a question of it.

    Every draw depends on the seed, the question and the number of the answer alone, so that the answers are the same on
    any number of ranks and in batches of any size (up to the rounding of a forward).

    Args:
        model: a causal language model of transformers.
        tokenizer: decodes its answers.
        asked: index of the question to what was asked.
        test: which answers leak.
        samples: answers per question.
        ks: numbers of answers that an attacker draws.
        sampling: parameters of sampling.
        seed: seed of the draws.
        max_new_tokens: length of the longest answer, in tokens.
        context: context manager for the forward, such as that of a precision.
        sharded: whether every forward is a collective operation.

    Raises:
        ValueError: if a number in ``ks`` is not in 1 to ``samples``.
    """

    reads: ClassVar[Reads] = "nothing"

    def __init__(
        self,
        model: nn.Module,
        tokenizer: "PreTrainedTokenizerBase",
        asked: Mapping[int, Asked],
        test: LeakTest,
        samples: int,
        ks: Sequence[int],
        sampling: Sampling = Sampling(),  # noqa: B008 - it is frozen
        seed: int = 0,
        max_new_tokens: int = 200,
        context: Callable[[], AbstractContextManager[None]] = nullcontext,
        sharded: bool = False,
    ) -> None:
        super().__init__()
        if wrong := [k for k in ks if not 1 <= k <= samples]:
            raise ValueError(f"k={wrong} with samples={samples}; accepted are 1 to {samples}.")
        self._parts = (model, tokenizer)  # not parts of the metric, which torchmetrics would move and copy
        self.asked = asked
        self.test = test
        self.samples = samples
        self.ks = list(ks)
        self.sampling = sampling
        self.seed = seed
        self.max_new_tokens = max_new_tokens
        self.context = context
        self.sharded = sharded

    def take(self, outputs: Mapping[str, Any], batch: Mapping[str, Any]) -> None:
        """Sample answers to the prompts of a batch, and add their scores.

        Args:
            outputs: not read.
            batch: a :class:`~unlearn_pl.types.PromptBatch`.

        Raises:
            ValueError: if the leak test raises, or returns no score per answer.
        """
        model, tokenizer = self._parts
        indices = batch["index"].tolist()
        asked = [self.asked[index] for index in indices]
        for number in range(self.samples):
            seeds = [draw_seed(self.seed, self.asked[index].question, index, number) for index in indices]
            with self.context():
                answers = sample(
                    model,
                    cast(PromptBatch, batch),
                    tokenizer,
                    self.max_new_tokens,
                    self.sampling,
                    seeds=seeds,
                    synced_gpus=self.sharded,
                )
            scores = self.test.checked_scores(asked, answers)
            self.update(batch["index"] * MAX_SAMPLES + number, torch.tensor(scores, dtype=torch.float64))

    def columns(self, name: str) -> dict[str, dict[int, float]]:
        """``leak_at_{k}`` and, of graded tests, ``best_of_{k}``, to index of the question to value.

        Args:
            name: not read.
        """
        drawn: dict[int, list[float]] = {}
        for key, score in self.per_example().items():
            drawn.setdefault(key // MAX_SAMPLES, []).append(score)
        if not drawn:
            return {}
        scores = torch.tensor(list(drawn.values()), dtype=torch.float64)
        leaks = (scores >= self.test.threshold).sum(dim=-1)
        found = {f"{LEAK}{k}": leak_at_k(leaks, self.samples, k) for k in self.ks}
        if self.test.graded:
            found |= {f"{BEST}{k}": expected_maximum(scores, k) for k in self.ks}
        return {column: _by_index(drawn, values) for column, values in found.items()}


def draw_seed(seed: int, question: str, index: int, number: int) -> int:
    """The seed of one sampled answer, from that of all, the question and the number of the answer."""
    digest = hashlib.sha256(f"{seed}/{index}/{number}/{question}".encode()).digest()
    return int.from_bytes(digest[:7], "big")


def leak_metrics(per_example: Mapping[str, Scores]) -> dict[str, float]:
    """``{split}_leak_at_{k}`` and ``{split}_best_of_{k}``: means over the questions of a split.

    Args:
        per_example: split to score to index to value.
    """
    return {
        f"{split}_{name}": mean_score(values)
        for split, table in per_example.items()
        for name, values in table.items()
        if name.startswith((LEAK, BEST)) and values
    }


def _by_index(drawn: Mapping[int, object], values: Tensor) -> dict[int, float]:
    return dict(zip(drawn, values.tolist(), strict=True))
