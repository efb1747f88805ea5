"""Evaluation of image classifiers that forget: UA, RA, TA, MIA, run time, and the gap to a retrained model."""

import time
from collections.abc import Mapping
from typing import Any, ClassVar

import lightning.pytorch as pl
import torch
from torch import Tensor

from unlearn_pl.callbacks.described.headline import Headline
from unlearn_pl.callbacks.evaluation import NO_ARGUMENTS, Arguments, Collected, EvaluationCallback
from unlearn_pl.callbacks.retain import check_questions
from unlearn_pl.functional import confidence_attack
from unlearn_pl.metrics import (
    ClassConfidence,
    ClassCorrect,
    ClassEntropy,
    Direction,
    ModifiedEntropy,
    PerExampleMetric,
)
from unlearn_pl.metrics.scores import mean_score
from unlearn_pl.results import PerExample

UA, RA, TA, MIA = "unlearning_accuracy", "retain_accuracy", "test_accuracy", "membership"
COMPARED = (UA, RA, TA, MIA)
"""What the gap to a retrained model is the mean of."""


class ClassificationEvaluation(EvaluationCallback):
    """How well a classifier has forgotten, and what it still knows; all shares in [0, 1].

    - ``unlearning_accuracy`` (UA): 1 minus the accuracy on the forget set;
    - ``retain_accuracy`` (RA) and ``test_accuracy`` (TA);
    - ``{split}_accuracy`` of all other splits;
    - ``{split}_entropy`` and ``{split}_modified_entropy``: means over the examples, see
      :func:`~unlearn_pl.functional.modified_entropy`;
    - ``membership`` (MIA), in ``test``: share of the forget set that an attack takes for examples that no model was
      trained on, see :func:`~unlearn_pl.functional.confidence_attack`. Members are the first examples of the retain
      set, non-members those of the test set: as many of each as the smaller set has (in the authors' code the first
      of the retain set, as many as there are in the test set, which is the smaller one there);
    - ``gap``, in ``test`` with ``retain_results``: mean absolute difference of UA, RA, TA and MIA from those of the
      retrained model;
    - ``seconds`` (RTE): time that ``fit`` took, also before an interruption; absent without one.

    Args:
        forget: name of the split with the forget set.
        retain: name of the split with the retain set.
        test: name of the split with images that no model was trained on.
        retain_results: ``results.json`` of this callback for a model that was trained on the retain set alone.
        output: file that ``test`` writes; by default ``results.json`` in the logger's directory.

    Raises:
        ValueError: if two of the splits have one name; from ``setup``, if the data has no such split, or
            ``retain_results`` are about other images.

    References:
        Jia et al., Model Sparsity Can Simplify Machine Unlearning, NeurIPS 2023, arXiv 2304.04934, section 2.
    """

    benchmark: ClassVar[str] = "classification"
    definitions: ClassVar[Mapping[str, str]] = {
        "unlearning_accuracy": "Share of the forget set that is not classified correctly.",
        "membership": "Share of the forget set that an attack takes for examples that no model was trained on.",
        "gap": "Mean absolute difference of UA, RA, TA and MIA from those of the retrained model.",
        "seconds": "Duration of training.",
    }
    headline: ClassVar[Headline] = Headline(
        forgotten=("unlearning_accuracy",), utility=("test_accuracy",), inverted=True
    )
    directions: ClassVar[Mapping[str, Direction]] = {
        **dict.fromkeys(("unlearning_accuracy", "membership", "*_entropy", "test_forgotten_accuracy"), "retain"),
        "*_accuracy": "higher",
        "gap": "lower",
        "seconds": "lower",
    }

    def __init__(
        self,
        forget: str = "forget",
        retain: str = "retain",
        test: str = "test",
        retain_results: str | None = None,
        output: str | None = None,
    ) -> None:
        super().__init__(output)
        if len({forget, retain, test}) < 3:
            raise ValueError(f"forget={forget!r}, retain={retain!r} and test={test!r} must be three splits.")
        self.names = {"forget": forget, "retain": retain, "test": test}
        self.retain_results = retain_results
        self._seconds = 0.0
        self._start_time: float | None = None

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Read the retrained model's results, which must be about the same images."""
        super().setup(trainer, pl_module, stage)
        if self.retain_results is not None:
            self.retain_scores = self.read_retain_scores(self.retain_results)
            check_questions(trainer, self.retain_results, self.names.values())

    def make_metrics(self, loader: str) -> Mapping[str, PerExampleMetric]:
        """The same scores for every split."""
        return {
            "correct": ClassCorrect(),
            "confidence": ClassConfidence(),
            "entropy": ClassEntropy(),
            "modified_entropy": ModifiedEntropy(),
        }

    @classmethod
    def metrics_of(
        cls, per_example: PerExample, retain: PerExample | None = None, arguments: Arguments = NO_ARGUMENTS
    ) -> dict[str, float]:
        """Accuracies and entropies; membership and the gap are slower, and added by :meth:`summarize`.

        Args:
            per_example: split to score to index to value.
            retain: not read.
            arguments: the names of the splits.
        """
        named = {str(arguments.get(role) or role): role for role in ("forget", "retain", "test")}
        metrics: dict[str, float] = {}
        for split, table in per_example.items():
            if correct := table.get("correct"):
                role, accuracy = named.get(split), mean_score(correct)
                name = UA if role == "forget" else f"{role or split}_accuracy"
                metrics[name] = 1 - accuracy if role == "forget" else accuracy
            for score in ("entropy", "modified_entropy"):
                if values := table.get(score):
                    metrics[f"{named.get(split, split)}_{score}"] = mean_score(values)
        return metrics

    def summarize(self, collected: Collected) -> tuple[dict[str, float], PerExample]:
        """The metrics, with the run time; in ``test`` with membership and the gap."""
        metrics, per_example = super().summarize(collected)
        if missing := [name for name in self.names.values() if name not in per_example]:
            self.warn_once(
                f"{type(self).__name__} computes neither membership nor gap: the data has no splits {missing}; it has "
                f"{list(per_example)}."
            )
            return metrics, per_example
        if self._seconds:
            metrics["seconds"] = self._seconds
        if self.stage == "test":
            metrics[MIA] = self._membership(per_example)
            if self.retain_scores is not None:
                metrics["gap"] = self._gap(metrics, self.retain_scores)
        return metrics, per_example

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Start the clock."""
        super().on_fit_start(trainer, pl_module)
        self._start_time = time.perf_counter()
        if trainer.ckpt_path is None:
            self._seconds = 0.0

    def on_fit_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Stop the clock, on all ranks at the time of the first."""
        self._seconds = float(trainer.strategy.broadcast(self._elapsed()))
        self._start_time = None
        super().on_fit_end(trainer, pl_module)

    def state_dict(self) -> dict[str, Any]:
        """The seconds of ``fit`` until now."""
        return {"seconds": self._elapsed()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from there."""
        self._seconds = float(state_dict.get("seconds", 0.0))

    def _elapsed(self) -> float:
        return self._seconds + (0.0 if self._start_time is None else time.perf_counter() - self._start_time)

    def _membership(self, per_example: PerExample) -> float:
        forget, retain, test = (_confidences(per_example, self.names[role]) for role in ("forget", "retain", "test"))
        if not all(bool(values.isfinite().all()) for values in (forget, retain, test)):
            return float("nan")
        size = min(len(retain), len(test))  # as many of each, or the larger side would be the answer to everything
        return confidence_attack(retain[:size], test[:size], forget)

    def _gap(self, metrics: Mapping[str, float], retain: PerExample) -> float:
        theirs = {**self.metrics_of(retain, None, dict(self.names)), MIA: self._membership(retain)}
        return sum(abs(metrics[name] - theirs[name]) for name in COMPARED) / len(COMPARED)


def _confidences(per_example: PerExample, split: str) -> Tensor:
    """``[n]``, in the order of the examples."""
    return torch.tensor([value for _, value in sorted(per_example[split]["confidence"].items())], dtype=torch.float64)
