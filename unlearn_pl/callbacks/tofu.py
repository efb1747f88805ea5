"""The TOFU benchmark."""

from collections.abc import Mapping
from typing import ClassVar

import lightning.pytorch as pl

from unlearn_pl.callbacks.evaluation import EvaluationCallback, question_hashes
from unlearn_pl.functional.tofu import TruthRatioAverage
from unlearn_pl.metrics import (
    CandidateNLL,
    PerExampleMetric,
    RougeRecall,
    read_forget_questions,
    read_truth_ratios,
    tofu_metrics,
    tofu_scores,
)
from unlearn_pl.metrics.tofu import SPLITS, UTILITY_METRICS
from unlearn_pl.results import PerExample

GENERATE = ".generate"


class TOFUEvaluation(EvaluationCallback):
    """Forget quality, model utility and what they are made of; see :func:`~unlearn_pl.metrics.tofu_metrics`.

    ``validate`` computes what needs no generation: probabilities, truth ratios and forget quality, for curves over
    the epochs. ``test`` adds ROUGE and the model utility.

    Args:
        retain_results: evaluation of a model that was trained on the retain set only, needed for the forget quality:
            a ``results.json`` of this callback, TOFU's ``eval_log_aggregated.json`` or OpenUnlearning's
            ``TOFU_EVAL.json``.
        output: file that ``test`` writes; ``results.json`` in the logger's directory when not given.
        truth_ratio_average: see :func:`~unlearn_pl.functional.truth_ratio`.

    Example:
        >>> evaluation = TOFUEvaluation(output="results/npo.json")

    References:
        Maini et al., "TOFU: A Task of Fictitious Unlearning for LLMs", COLM 2024, arXiv 2401.06121.
    """

    benchmark: ClassVar[str] = "tofu"

    def __init__(
        self,
        retain_results: str | None = None,
        output: str | None = None,
        truth_ratio_average: TruthRatioAverage = "geometric",
    ) -> None:
        super().__init__(output)
        self.retain_results = retain_results
        self.truth_ratio_average = truth_ratio_average
        self._retain_ratios: dict[int, float] | None = None

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Read the retain model's results, so that a wrong file is found before the work starts.

        Raises:
            ValueError: if they are not there, not readable, or about other forget questions.
        """
        if self.retain_results is None:
            return
        self._retain_ratios = read_truth_ratios(self.retain_results, self.truth_ratio_average)
        theirs, ours = read_forget_questions(self.retain_results), question_hashes(trainer).get("forget", {})
        shared = theirs.keys() & ours.keys()
        if other := [i for i in shared if theirs[i] != ours[i]]:
            raise ValueError(
                f"{self.retain_results!r} is about other forget questions: {len(other)} of the {len(shared)} that both "
                "have differ. Evaluate the retain model on the same split of the same data."
            )

    def make_metric(self, loader: str) -> PerExampleMetric | None:
        """NLLs of the candidates for TOFU's splits, ROUGE for their ``.generate`` loaders."""
        if loader.removesuffix(GENERATE) not in SPLITS:
            return None
        return RougeRecall() if loader.endswith(GENERATE) else CandidateNLL()

    def summarize(self, collected: Mapping[str, PerExampleMetric]) -> tuple[dict[str, float], PerExample]:
        """TOFU's metrics and scores per example."""
        per_example: dict[str, dict[str, dict[int, float]]] = {}
        for loader, metric in collected.items():
            split = loader.removesuffix(GENERATE)
            scores = per_example.setdefault(split, {})
            if isinstance(metric, CandidateNLL):
                scores |= tofu_scores(split, metric.candidates(), self.truth_ratio_average)
            else:
                scores["rouge"] = metric.per_example()
        self._check_questions(per_example.get("forget", {}).get("truth_ratio", {}))
        return tofu_metrics(per_example, self._retain_ratios), per_example

    def on_test_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Log the metrics, keep the results and write them."""
        super().on_test_epoch_end(trainer, pl_module)
        metrics = self.results.metrics if self.results else {}
        if missing := [name for name in UTILITY_METRICS if name not in metrics]:
            self.warn_once(f"model_utility is not computed, because there is no {', '.join(missing)}.")

    def _check_questions(self, ratios: Mapping[int, float]) -> None:
        if ratios and self._retain_ratios is None:
            self.warn_once(
                "forget_quality is not computed, because it compares with a model that was trained on the retain set "
                "only. Train one, test it with TOFUEvaluation, and give its results.json as retain_results."
            )
        elif ratios and self._retain_ratios is not None and ratios.keys() != self._retain_ratios.keys():
            self.warn_once(
                f"forget_quality compares answers to different questions: {len(ratios)} forget questions were "
                f"evaluated, {len(self._retain_ratios)} are in {self.retain_results!r}, and "
                f"{len(ratios.keys() & self._retain_ratios.keys())} are in both."
            )
