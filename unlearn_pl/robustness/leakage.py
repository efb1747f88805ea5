"""Leakage: how much of the correct answers a model reveals."""

from collections.abc import Mapping
from typing import ClassVar

import lightning.pytorch as pl

from unlearn_pl.callbacks import QAEvaluation
from unlearn_pl.metrics import Direction
from unlearn_pl.results import PerExample
from unlearn_pl.robustness.curve import Curve


class LeakageEvaluation(QAEvaluation):
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
        self.per_example: PerExample = {}
        self._steps: list[tuple[int, dict[str, float], PerExample]] = []

    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Store the metrics and their step on the curve."""
        self._keep()
        shown = trainer.fit_loop.epoch_loop.batch_progress.total.completed  # optimizer steps, skipped ones included
        self._steps.append((shown, self.metrics, self.per_example))

    def on_test_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Store the metrics."""
        self._keep()

    @property
    def curve(self) -> Curve:
        """The metrics of all validations so far; the later one of two at the same step."""
        points = {step: metrics for step, metrics, _ in self._steps}
        names = list(self.metrics) if points else []
        return {"step": [float(s) for s in points], **{name: [m[name] for m in points.values()] for name in names}}

    def rows(self, split: str) -> dict[str, list[float]]:
        """``{split}_{score}`` to the scores of the rows of ``split``, in their order, of the last evaluation."""
        return _rows(self.per_example, split)

    def traced_rows(self, split: str) -> list[dict[str, list[float]]]:
        """The same at every point of the curve."""
        points = {step: per_example for step, _, per_example in self._steps}
        return [_rows(per_example, split) for per_example in points.values()]

    def _keep(self) -> None:
        self.metrics, self.per_example = self.summarize(self._collected)


def _rows(per_example: PerExample, split: str) -> dict[str, list[float]]:
    tables = per_example.get(split, {})
    return {f"{split}_{score}": [table[i] for i in sorted(table)] for score, table in tables.items()}
