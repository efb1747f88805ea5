"""The RWKU benchmark."""

import re
from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import ClassVar

import lightning.pytorch as pl

from unlearn_pl.callbacks.described.headline import Headline
from unlearn_pl.callbacks.evaluation import GENERATE, NO_ARGUMENTS, Arguments, Collected, EvaluationCallback
from unlearn_pl.callbacks.leaks.asked import answers_of, cloze_lengths
from unlearn_pl.metrics import (
    CandidateNLL,
    ChoiceCorrect,
    ChoiceCorrectByLength,
    Direction,
    PerExampleMetric,
    RougeRecall,
    short_answer_metrics,
)
from unlearn_pl.results import PerExample

LEVELS: Mapping[str, Sequence[str]] = {
    "forget": ("forget_level1", "forget_level2", "forget_level3"),
    "neighbor": ("neighbor_level1", "neighbor_level2"),
}
REASONING, FACTS, CHOICES = "utility_reason", "utility_factuality", ("utility_general", "utility_truthfulness")
TEXTS = ("mia_forget", "mia_retain")
_SAID = re.compile(r"the answer is (.*?)(?:\.|$)", re.IGNORECASE)


class RWKUEvaluation(EvaluationCallback):
    """What a model still knows about persons that it was to forget, and about all else.

    - ``{split}_rouge`` of the levels of ``forget`` and ``neighbor``: ROUGE-L recall of the generated answer, without a
      stemmer; ``forget_rouge`` and ``neighbor_rouge`` are the means over their levels;
    - ``utility_general_accuracy`` (MMLU) and ``utility_truthfulness_accuracy`` (MC1 of TruthfulQA);
    - ``utility_reason_exact_match`` (BBH, of what follows "the answer is") and ``utility_factuality_exact_match`` and
      ``_f1`` (TriviaQA), see :func:`~unlearn_pl.functional.exact_match`;
    - ``mia_forget_nll`` and ``mia_retain_nll``: the loss attack's mean score, in nats per token.

    Generation needs ``test``; choices and texts are evaluated in ``validate``, too.

    Args:
        output: file that ``test`` writes; by default ``results.json`` in the logger's directory.
        max_new_tokens: length of the answers to the questions about persons and facts; the authors'.
        reasoning_tokens: length of the answers to the tasks of BBH.

    Raises:
        ValueError: if a number is not positive.

    References:
        Jin et al., "RWKU", NeurIPS 2024, arXiv 2406.10890.
    """

    benchmark: ClassVar[str] = "rwku"
    definitions: ClassVar[Mapping[str, str]] = {
        "mia_*_nll": "Mean negative log-likelihood per token, in nats, of the membership set.",
        "utility_factuality_f1": "F1 of the words of short answers, mean over the questions.",
    }
    headline: ClassVar[Headline] = Headline(
        forgotten=("forget_rouge",), kept=("neighbor_rouge",), utility=("utility_general_accuracy",)
    )
    directions: ClassVar[Mapping[str, Direction]] = {
        **dict.fromkeys(("forget_*", "mia_forget_*"), "retain"),
        "mia_retain_nll": "lower",
        **dict.fromkeys(("neighbor_*", "utility_*"), "higher"),
    }

    def __init__(self, output: str | None = None, max_new_tokens: int = 30, reasoning_tokens: int = 256) -> None:
        super().__init__(output)
        if max_new_tokens < 1 or reasoning_tokens < 1:
            raise ValueError(f"max_new_tokens={max_new_tokens} and {reasoning_tokens=} must be positive.")
        self.max_new_tokens = max_new_tokens
        self.reasoning_tokens = reasoning_tokens
        self._cloze: dict[str, dict[int, list[int]]] = {}
        self._answers: dict[str, dict[int, list[str]]] = {}

    def on_validation_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Start with new metrics."""
        self._cloze = cloze_lengths(trainer, trainer.val_dataloaders)
        super().on_validation_epoch_start(trainer, pl_module)

    def on_test_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Start with new metrics."""
        self._cloze = cloze_lengths(trainer, trainer.test_dataloaders)
        asked = [split for split in (REASONING, FACTS) if split in (trainer.test_dataloaders or ())]
        self._answers = {split: answers_of(trainer, split, "RWKUEvaluation") for split in asked}
        super().on_test_epoch_start(trainer, pl_module)

    def make_metrics(self, loader: str) -> Mapping[str, PerExampleMetric]:
        """Overlap or equality of generated answers; choices and losses of the others."""
        split = loader.removesuffix(GENERATE)
        if loader.endswith(GENERATE):
            if any(split in levels for levels in LEVELS.values()):
                return {"rouge": RougeRecall(use_stemmer=False)}
            if split not in (REASONING, FACTS):
                return {}
            found = short_answer_metrics(self._answers.get(split), said if split == REASONING else None)
            return found if split == FACTS else {"exact_match": found["exact_match"]}
        if split in CHOICES:
            lengths = self._cloze.get(split)
            return {"correct": ChoiceCorrect() if lengths is None else ChoiceCorrectByLength(lengths)}
        return {"nll": CandidateNLL()} if split in TEXTS else {}

    def generation(self, loader: str) -> tuple[int | None, Sequence[str]]:
        """Short answers on one line; long ones to the tasks of BBH; no wish for other dataloaders."""
        split = loader.removesuffix(GENERATE)
        if split == REASONING:
            return self.reasoning_tokens, ()
        short = split == FACTS or any(split in levels for levels in LEVELS.values())
        return (self.max_new_tokens, ("\n",)) if short else (None, ())

    def scores_of(self, collected: Collected) -> PerExample:
        """Split to score to index to value."""
        scores: dict[str, dict[str, dict[int, float]]] = {}
        for loader, metrics in collected.items():
            table = scores.setdefault(loader.removesuffix(GENERATE), {})
            for name, metric in metrics.items():
                if isinstance(metric, ChoiceCorrect):
                    table["accuracy"] = metric.correct()
                elif isinstance(metric, CandidateNLL):
                    table[name] = {index: nll[0] for index, nll in metric.candidates().items() if 0 in nll}
                else:
                    table |= metric.columns(name)
        return {split: table for split, table in scores.items() if any(table.values())}

    @classmethod
    def metrics_of(
        cls, per_example: PerExample, retain: PerExample | None = None, arguments: Arguments = NO_ARGUMENTS
    ) -> dict[str, float]:
        """The means, and those over levels.

        Args:
            per_example: split to score to index to value.
            retain: not read.
            arguments: not read.
        """
        found = super().metrics_of(per_example)
        for name, levels in LEVELS.items():
            means = [f"{level}_rouge" for level in levels]
            if all(mean in found for mean in means):
                found[f"{name}_rouge"] = fmean(found[mean] for mean in means)
        return found


def said(text: str) -> str:
    """What follows "the answer is" in a text, up to a full stop; all of it if it does not say so.

    Args:
        text: a generated answer.
    """
    match = _SAID.search(text)
    return match.group(1).strip() if match else text.strip()
