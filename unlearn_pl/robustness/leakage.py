"""Leakage: how much of the correct answers a model reveals."""

import math
from collections.abc import Mapping
from typing import ClassVar

import lightning.pytorch as pl

from unlearn_pl.callbacks import EvaluationCallback
from unlearn_pl.callbacks.evaluation import GENERATE, Collected
from unlearn_pl.metrics import (
    CandidateNLL,
    Direction,
    ExactMemorization,
    ExtractionStrength,
    PerExampleMetric,
    RougeRecall,
)
from unlearn_pl.metrics.scores import Scores, mean_score
from unlearn_pl.robustness.curve import Curve


class LeakageEvaluation(EvaluationCallback):
    """Mean leakage of the correct answers of each split, all values in [0, 1]; writes no file.

    ``{split}_probability`` (geometric mean over the tokens of the answer), ``{split}_exact_memorization`` and
    ``{split}_extraction_strength``; of generated answers ``{split}_rouge``, the ROUGE-L recall.

    Attributes:
        metrics: results of the last ``validate`` or ``test``.
        per_example: split to score to index to value, of the same run.
        curve: ``step`` (optimizer steps) and every metric to its values, one per validation of a training run.
    """

    benchmark: ClassVar[str] = "leakage"
    directions: ClassVar[Mapping[str, Direction]] = {"*": "retain"}

    def __init__(self) -> None:
        super().__init__()
        self.metrics: dict[str, float] = {}
        self.per_example: dict[str, Scores] = {}
        self._steps: list[tuple[int, dict[str, float]]] = []

    def make_metrics(self, loader: str) -> Mapping[str, PerExampleMetric]:
        """ROUGE for ``.generate`` loaders, teacher-forced metrics for the others."""
        if loader.endswith(GENERATE):
            return {"rouge": RougeRecall()}
        return {
            "nll": CandidateNLL(),
            "exact_memorization": ExactMemorization(),
            "extraction_strength": ExtractionStrength(),
        }

    def summarize(self, collected: Collected) -> tuple[dict[str, float], dict[str, Scores]]:
        """The mean of every score, and the per-example scores."""
        scores: dict[str, dict[str, Mapping[int, float]]] = {}
        for loader, metrics in collected.items():
            of_split = scores.setdefault(loader.removesuffix(GENERATE), {})
            for name, metric in metrics.items():
                if isinstance(metric, CandidateNLL):
                    nlls = metric.candidates()
                    of_split["probability"] = {index: math.exp(-nll[0]) for index, nll in nlls.items() if 0 in nll}
                else:
                    of_split[name] = metric.per_example()
        means = {f"{split}_{name}": mean_score(v) for split, table in scores.items() for name, v in table.items() if v}
        return means, dict(scores)

    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Store the metrics and their step on the curve."""
        self._keep()
        shown = trainer.fit_loop.epoch_loop.batch_progress.total.completed  # optimizer steps, skipped ones included
        self._steps.append((shown, self.metrics))

    def on_test_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Store the metrics."""
        self._keep()

    @property
    def curve(self) -> Curve:
        """The metrics of all validations so far; the later one of two at the same step."""
        points = dict(self._steps)
        names = list(self.metrics) if points else []
        return {"step": [float(s) for s in points], **{name: [m[name] for m in points.values()] for name in names}}

    def _keep(self) -> None:
        self.metrics, self.per_example = self.summarize(self._collected)
