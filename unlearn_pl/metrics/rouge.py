"""ROUGE-L of generated answers, scored where they are generated."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from unlearn_pl.functional import rouge_l_f1, rouge_l_recall
from unlearn_pl.metrics.base import PerExampleMetric


class RougeRecall(PerExampleMetric):
    """Keeps :func:`~unlearn_pl.functional.rouge_l_recall` of every generated answer.

    Args:
        use_stemmer: whether words that share a stem are equal, as in TOFU.
    """

    def __init__(self, use_stemmer: bool = True) -> None:
        super().__init__()
        self.use_stemmer = use_stemmer

    def update(self, index: Tensor, generated: Sequence[str], answer: Sequence[str]) -> None:  # type: ignore[override]
        """Add the scores of some generated answers.

        Args:
            index: ``[B]`` position of the question in its dataset.
            generated: B texts.
            answer: B correct answers.
        """
        pairs = zip(answer, generated, strict=True)
        scores = [rouge_l_recall(correct, text, self.use_stemmer) for correct, text in pairs]
        super().update(index, torch.tensor(scores, dtype=torch.float64))

    def take(self, outputs: Mapping[str, Any], batch: Mapping[str, Any]) -> None:
        """Add a :class:`~unlearn_pl.types.Generation`, compared with the ``answer`` of its batch."""
        self.update(outputs["index"], outputs["text"], batch["answer"])


class RougeF1(PerExampleMetric):
    """Keeps :func:`~unlearn_pl.functional.rouge_l_f1` of every generated answer.

    Args:
        use_stemmer: whether words that share a stem are equal.
        shorten: applied to correct answers before the comparison, such as a function that keeps their beginning.
    """

    def __init__(self, use_stemmer: bool = False, shorten: Callable[[str], str] | None = None) -> None:
        super().__init__()
        self.use_stemmer = use_stemmer
        self.shorten = shorten

    def update(self, index: Tensor, generated: Sequence[str], answer: Sequence[str]) -> None:  # type: ignore[override]
        """Add the scores of some generated answers.

        Args:
            index: ``[B]`` position of the question in its dataset.
            generated: B texts.
            answer: B correct answers.
        """
        correct = answer if self.shorten is None else [self.shorten(text) for text in answer]
        pairs = zip(correct, generated, strict=True)
        scores = [rouge_l_f1(reference, text, self.use_stemmer) for reference, text in pairs]
        super().update(index, torch.tensor(scores, dtype=torch.float64))

    def take(self, outputs: Mapping[str, Any], batch: Mapping[str, Any]) -> None:
        """Add a :class:`~unlearn_pl.types.Generation`, compared with the ``answer`` of its batch."""
        self.update(outputs["index"], outputs["text"], batch["answer"])
