"""Correctness of answers to multiple-choice questions."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from unlearn_pl.functional import choice_correct
from unlearn_pl.metrics.base import PerExampleMetric

MAX_OPTIONS = 64


class ChoiceCorrect(PerExampleMetric):
    """Keeps ``log p(letter)`` of every option; the most likely one is the answer, as in lm-eval.

    Batches without ``target`` hold no multiple-choice questions and are ignored.
    """

    def update(self, index: Tensor, choice: Tensor, nll: Tensor, target: Tensor) -> None:  # type: ignore[override]
        """Add some options.

        Args:
            index: ``[B]`` position of the question in its dataset.
            choice: ``[B]`` number of the option.
            nll: ``[B]`` sum over its scored tokens.
            target: ``[B]`` number of the correct option.
        """
        super().update((index * MAX_OPTIONS + target) * MAX_OPTIONS + choice, -nll)

    def take(self, outputs: Mapping[str, Any], batch: Mapping[str, Any]) -> None:
        """Add a :class:`~unlearn_pl.types.Score`, with the ``target [B]`` of its batch."""
        if "target" in batch:
            self.update(outputs["index"], outputs["choice"], outputs["nll"], batch["target"])

    def correct(self) -> dict[int, float]:
        """Index of the question to 1 or 0, or NaN if a log-probability is NaN; a collective operation.

        Questions whose correct option was not scored, as in an evaluation of some batches only, are absent.
        """
        options: dict[tuple[int, int], dict[int, float]] = {}
        for key, logp in self.per_example().items():
            question, choice = divmod(key, MAX_OPTIONS)
            options.setdefault(divmod(question, MAX_OPTIONS), {})[choice] = logp
        return {index: _correct(logps, target).item() for (index, target), logps in options.items() if target in logps}


class ChoiceCorrectByLength(ChoiceCorrect):
    """The same for options that are texts: log-probabilities are divided by the lengths of the options.

    Args:
        lengths: index of the question to the length of every option.
    """

    def __init__(self, lengths: Mapping[int, Sequence[int]]) -> None:
        super().__init__()
        self.lengths = lengths

    def update(self, index: Tensor, choice: Tensor, nll: Tensor, target: Tensor) -> None:  # type: ignore[override]
        """Add some options.

        Args:
            index: ``[B]`` position of the question in its dataset.
            choice: ``[B]`` number of the option.
            nll: ``[B]`` sum over its scored tokens.
            target: ``[B]`` number of the correct option.
        """
        places = zip(index.tolist(), choice.tolist(), strict=True)
        sizes = torch.tensor([self.lengths[question][option] for question, option in places], dtype=torch.float64)
        super().update(index, choice, nll.double() / sizes.to(nll.device), target)


def _correct(logps: Mapping[int, float], target: int) -> Tensor:
    row = torch.full((1, max(logps) + 1), -torch.inf, dtype=torch.float64)
    row[0, list(logps)] = torch.tensor(list(logps.values()), dtype=torch.float64)
    return choice_correct(row, torch.tensor([target]))
