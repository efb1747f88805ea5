"""The WMDP benchmark, and other multiple-choice questions."""

from collections.abc import Mapping
from typing import ClassVar

import lightning.pytorch as pl
import torch
from torch import Tensor

from unlearn_pl.callbacks.described.headline import Headline
from unlearn_pl.callbacks.evaluation import GENERATE, NO_ARGUMENTS, Arguments, Collected, EvaluationCallback
from unlearn_pl.callbacks.leaks.asked import cloze_lengths
from unlearn_pl.functional import bootstrap_interval, corpus_perplexity
from unlearn_pl.metrics import (
    CandidateNLL,
    ChoiceCorrect,
    ChoiceCorrectByLength,
    Direction,
    PerExampleMetric,
    TokenCount,
)
from unlearn_pl.metrics.candidate_nll import MAX_CHOICES
from unlearn_pl.metrics.scores import mean_score
from unlearn_pl.results import PerExample

TEXTS = "wikitext"


class WMDPEvaluation(EvaluationCallback):
    """Accuracy on multiple-choice questions: on hazardous knowledge it should fall to chance, elsewhere it should not.

    Every split of multiple-choice questions is evaluated, ``wmdp_bio``, ``wmdp_chem``, ``wmdp_cyber``, ``mmlu`` and
    your own, in ``validate`` and in ``test``; nothing is generated. The answer is the option with the most likely
    letter, as in the zero-shot tasks of lm-eval; of a cloze question, the continuation with the largest log-probability
    per character. Metrics are

    - ``{split}_accuracy``: share of questions that are answered correctly;
    - ``{split}_accuracy_low`` and ``_high``: its interval, see :func:`~unlearn_pl.functional.bootstrap_interval`;
    - ``wikitext_perplexity``: per token of the model's tokenizer, over all tokens of the split ``wikitext``; comparable
      only between models with the same tokenizer.

    Args:
        output: file that ``test`` writes; by default ``results.json`` in the logger's directory.
        level: coverage probability of the intervals.
        resamples: number of bootstrap draws.

    Raises:
        ValueError: if ``level`` is not between 0 and 1, or ``resamples`` is not positive.

    References:
        Li et al., "The WMDP Benchmark: Measuring and Reducing Malicious Use With Unlearning", ICML 2024,
        arXiv 2403.03218; Hendrycks et al., "Measuring Massive Multitask Language Understanding", ICLR 2021,
        arXiv 2009.03300.
    """

    benchmark: ClassVar[str] = "wmdp"
    headline: ClassVar[Headline] = Headline(forgotten=("wmdp_*_accuracy",), kept=("mmlu_accuracy", "*_accuracy"))
    directions: ClassVar[Mapping[str, Direction]] = {
        "wmdp_*_accuracy": "lower",
        "*_accuracy": "higher",
        "*_perplexity": "lower",
    }

    def __init__(self, output: str | None = None, level: float = 0.95, resamples: int = 1000) -> None:
        super().__init__(output)
        if not 0 < level < 1 or resamples < 1:
            raise ValueError(f"level={level} must be between 0 and 1, and resamples={resamples} at least 1.")
        self.level = level
        self.resamples = resamples
        self._cloze: dict[str, dict[int, list[int]]] = {}

    def on_validation_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Start with new metrics."""
        self._cloze = cloze_lengths(trainer, trainer.val_dataloaders)
        super().on_validation_epoch_start(trainer, pl_module)

    def on_test_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Start with new metrics."""
        self._cloze = cloze_lengths(trainer, trainer.test_dataloaders)
        super().on_test_epoch_start(trainer, pl_module)

    def make_metrics(self, loader: str) -> Mapping[str, PerExampleMetric]:
        """Answers to questions; NLLs of the texts of ``wikitext``."""
        if loader.endswith(GENERATE):
            return {}
        if loader in self._cloze:
            return {"correct": ChoiceCorrectByLength(self._cloze[loader])}
        return {"nll": CandidateNLL(), "num_tokens": TokenCount()} if loader == TEXTS else {"correct": ChoiceCorrect()}

    @classmethod
    def metrics_of(
        cls, per_example: PerExample, retain: PerExample | None = None, arguments: Arguments = NO_ARGUMENTS
    ) -> dict[str, float]:
        """Accuracies, and perplexities over all tokens of a split.

        Args:
            per_example: split to score to index to value.
            retain: not read.
            arguments: not read.
        """
        metrics: dict[str, float] = {}
        for split, table in per_example.items():
            if correct := table.get("correct"):
                metrics[f"{split}_accuracy"] = mean_score(correct)
            nll, num_tokens = table.get("nll", {}), table.get("num_tokens", {})
            if nll and nll.keys() == num_tokens.keys():
                sums = {index: per_token * num_tokens[index] for index, per_token in nll.items()}
                metrics[f"{split}_perplexity"] = _perplexity(sums, num_tokens)
        return metrics

    def summarize(self, collected: Collected) -> tuple[dict[str, float], PerExample]:
        """Accuracies with their intervals and perplexities, and the scores per example."""
        metrics: dict[str, float] = {}
        per_example: dict[str, dict[str, dict[int, float]]] = {}
        for split, kept in collected.items():
            correct = kept.get("correct")
            if isinstance(correct, ChoiceCorrect):
                if answered := correct.correct():
                    per_example[split] = {"correct": answered}
                    metrics |= self.metrics_of({split: per_example[split]}) | self._interval(split, answered)
            elif kept:
                sums, num_tokens = _sums(kept)
                per_token = {index: total / num_tokens[index] for index, total in sums.items()}
                per_example[split] = {"nll": per_token, "num_tokens": num_tokens}
                # From the sums themselves: those that metrics_of multiplies out differ in the last digit.
                metrics[f"{split}_perplexity"] = _perplexity(sums, num_tokens)
        return metrics, per_example

    def _interval(self, split: str, correct: Mapping[int, float]) -> dict[str, float]:
        low, high = bootstrap_interval(_mean, list(correct.values()), level=self.level, resamples=self.resamples)
        return {f"{split}_accuracy_low": low, f"{split}_accuracy_high": high}


def _mean(values: Tensor) -> float:
    return values.mean().item()


def _perplexity(sums: Mapping[int, float], num_tokens: Mapping[int, float]) -> float:
    nll = torch.tensor([sums[index] for index in num_tokens], dtype=torch.float64)
    return corpus_perplexity(nll, torch.tensor(list(num_tokens.values()), dtype=torch.float64)).item()


def _sums(kept: Mapping[str, PerExampleMetric]) -> tuple[dict[int, float], dict[int, float]]:
    """Index of the text to its NLL, a sum over all of its windows, and to its number of scored tokens."""
    windows, sizes = kept["nll"].per_example(), kept["num_tokens"].per_example()
    nll: dict[int, float] = {}
    num_tokens: dict[int, float] = {}
    for key, size in sizes.items():
        index = key // MAX_CHOICES
        nll[index] = nll.get(index, 0.0) + windows[key] * size
        num_tokens[index] = num_tokens.get(index, 0.0) + size
    return nll, num_tokens
