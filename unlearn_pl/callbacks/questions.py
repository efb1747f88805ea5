"""Evaluation on questions of your own, whatever the splits are called."""

import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import ClassVar

import lightning.pytorch as pl

from unlearn_pl.callbacks.evaluation import GENERATE, Collected, EvaluationCallback
from unlearn_pl.callbacks.leaks.sampled import Leaks
from unlearn_pl.metrics import (
    CandidateNLL,
    Direction,
    ExactMemorization,
    ExtractionStrength,
    PerExampleMetric,
    RougeRecall,
)
from unlearn_pl.results import PerExample


class QAEvaluation(EvaluationCallback):
    """How well the model still gives the answers of each split: the forget set, the retain set, and your own.

    Metrics are means over the answers of a split, all in [0, 1]:

    - ``{split}_probability``: probability of the answer, the geometric mean over its tokens;
    - ``{split}_exact_memorization``: share of its tokens that are the model's first choice;
    - ``{split}_extraction_strength``: share of the answer that the model completes from the rest;
    - ``{split}_rouge``: ROUGE-L recall of the generated answer, in ``test`` only;
    - with ``leaks``, ``{split}_leak_at_{k}`` and ``{split}_best_of_{k}``, see :class:`~unlearn_pl.callbacks.Leaks`.

    After unlearning, those of ``forget`` should be low, near those of a model that never saw the forget set, and those
    of ``retain`` as high as before. Texts have no question; of them, the first tokens are scored.

    Args:
        output: file that ``test`` writes; by default ``results.json`` in the logger's directory.
        leaks: leaks in sampled answers, in ``test``; None for none.

    Example:
        >>> evaluation = QAEvaluation(output="results/mine.json")
    """

    benchmark: ClassVar[str] = "qa"
    directions: ClassVar[Mapping[str, Direction]] = {
        **dict.fromkeys(("forget_*", "mixed_forget_*", "holdout_*"), "retain"),
        **dict.fromkeys(("*_probability", "*_exact_memorization", "*_extraction_strength", "*_rouge"), "higher"),
        **dict.fromkeys(("*_leak_at_*", "*_best_of_*"), "higher"),  # of splits that are not to be forgotten
    }

    def __init__(self, output: str | None = None, leaks: Leaks | None = None) -> None:
        super().__init__(output)
        self.leaks = leaks
        self._leaks_of: Callable[[str], Mapping[str, PerExampleMetric]] = lambda split: {}

    def on_test_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Start with new metrics."""
        if self.leaks is not None:
            self.leaks.check(trainer.test_dataloaders)
            self._leaks_of = partial(self.leaks.metrics, trainer, pl_module)
        super().on_test_epoch_start(trainer, pl_module)

    def make_metrics(self, loader: str) -> Mapping[str, PerExampleMetric]:
        """ROUGE for ``.generate`` loaders, teacher-forced metrics for the others."""
        if loader.endswith(GENERATE):
            return {"rouge": RougeRecall(), **self._leaks_of(loader.removesuffix(GENERATE))}
        return {
            "probability": CandidateNLL(),
            "exact_memorization": ExactMemorization(),
            "extraction_strength": ExtractionStrength(),
        }

    def scores_of(self, collected: Collected) -> PerExample:
        """Split to score to index to value; probabilities are those of the correct answers."""
        scores: dict[str, dict[str, Mapping[int, float]]] = {}
        for loader, metrics in collected.items():
            table = scores.setdefault(loader.removesuffix(GENERATE), {})
            for name, metric in metrics.items():
                if isinstance(metric, CandidateNLL):
                    nlls = metric.candidates()
                    table[name] = {index: math.exp(-nll[0]) for index, nll in nlls.items() if 0 in nll}
                else:
                    table |= metric.columns(name)
        return {split: {n: dict(values) for n, values in table.items() if values} for split, table in scores.items()}
