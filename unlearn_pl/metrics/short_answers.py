"""Short generated answers, compared with all that are correct."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from unlearn_pl.functional import exact_match, word_f1
from unlearn_pl.metrics.base import PerExampleMetric

Compare = Callable[[Sequence[str], str], float]


class ShortAnswers(PerExampleMetric):
    """Keeps a comparison of every generated answer with the correct ones.

    Args:
        compare: maps correct answers and a generated one to a number.
        answers: index of the question to its correct answers; where it is absent, the batch's one.
        extract: maps a generated text to the answer in it.
    """

    def __init__(
        self,
        compare: Compare,
        answers: Mapping[int, Sequence[str]] | None = None,
        extract: Callable[[str], str] | None = None,
    ) -> None:
        super().__init__()
        self.comparison = compare
        self.answers = answers or {}
        self.extract = extract

    def update(self, index: Tensor, generated: Sequence[str], answer: Sequence[str]) -> None:  # type: ignore[override]
        """Add the scores of some generated answers.

        Args:
            index: ``[B]`` position of the question in its dataset.
            generated: B texts.
            answer: B correct answers.
        """
        texts = generated if self.extract is None else [self.extract(text) for text in generated]
        scores = [
            self.comparison(self.answers.get(number, [correct]), text)
            for number, text, correct in zip(index.tolist(), texts, answer, strict=True)
        ]
        super().update(index, torch.tensor(scores, dtype=torch.float64))

    def take(self, outputs: Mapping[str, Any], batch: Mapping[str, Any]) -> None:
        """Add a :class:`~unlearn_pl.types.Generation`, compared with the ``answer`` of its batch."""
        self.update(outputs["index"], outputs["text"], batch["answer"])


def short_answer_metrics(
    answers: Mapping[int, Sequence[str]] | None = None, extract: Callable[[str], str] | None = None
) -> dict[str, PerExampleMetric]:
    """``exact_match`` and ``f1``, see :func:`~unlearn_pl.functional.exact_match`.

    Args:
        answers: index of the question to its correct answers.
        extract: maps a generated text to the answer in it.
    """
    return {
        "exact_match": ShortAnswers(exact_match, answers, extract),
        "f1": ShortAnswers(word_f1, answers, extract),
    }
