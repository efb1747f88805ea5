"""The TOFU benchmark."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import ClassVar

import lightning.pytorch as pl

from unlearn_pl.callbacks.evaluation import GENERATE, Collected, EvaluationCallback
from unlearn_pl.callbacks.more_attacks import MoreAttacks
from unlearn_pl.callbacks.retain import check_questions
from unlearn_pl.functional import Compat
from unlearn_pl.functional.evaluation.compat import follows_openunlearning
from unlearn_pl.functional.evaluation.tofu import TruthRatioAverage
from unlearn_pl.metrics import (
    CandidateNLL,
    ExactMemorization,
    ExtractionStrength,
    Fluency,
    PerExampleMetric,
    RougeRecall,
    membership_attacks,
    membership_intervals,
    membership_metrics,
    memorization_metrics,
    paraphrase_scores,
    read_membership_scores,
    read_truth_ratios,
    tofu_aggregates,
    tofu_metrics,
    tofu_scores,
)
from unlearn_pl.metrics.scores import Scores
from unlearn_pl.metrics.tofu.scores import SPLITS, UTILITY_METRICS
from unlearn_pl.results import PerExample

MEMBERS, NONMEMBERS = "forget", "holdout"
MEMORIZED = ("forget", "retain", "holdout")
"""Splits of which the memorization is measured."""


class TOFUEvaluation(EvaluationCallback):
    """Forget quality, model utility and what they are made of, see :func:`~unlearn_pl.metrics.tofu_metrics`; and leaks.

    ``validate`` computes what needs no generation, for curves over the epochs: probabilities, truth ratios and forget
    quality; ``{split}_exact_memorization`` and ``{split}_extraction_strength`` of the forget, retain and holdout
    answers. ``test`` adds ROUGE, the model utility and ``forget_fluency``, whether the generated answers repeat
    themselves. Aggregates are those of :func:`~unlearn_pl.metrics.tofu.aggregates`.

    With a split ``holdout``, of questions like the forget set's that no model was trained on, membership inference and
    PrivLeak come in, see :func:`~unlearn_pl.metrics.membership_metrics`; ``test`` gives every AUC an interval, see
    :func:`~unlearn_pl.metrics.membership_intervals`.

    Args:
        retain_results: evaluation of a model that was trained on the retain set only, needed for the forget quality:
            a ``results.json`` of this callback, TOFU's ``eval_log_aggregated.json`` or OpenUnlearning's
            ``TOFU_EVAL.json``. PrivLeak takes the first only, and else compares with chance.
        output: file that ``test`` writes; ``results.json`` in the logger's directory when not given.
        truth_ratio_average: see :func:`~unlearn_pl.functional.truth_ratio`.
        compat: conventions of memorization, membership inference and PrivLeak: None for ours, ``openunlearning`` for
            those of OpenUnlearning; :func:`~unlearn_pl.functional.extraction_strength`,
            :func:`~unlearn_pl.functional.min_k` and :func:`~unlearn_pl.functional.priv_leak` say what differs.
        more_attacks: further membership attacks, in ``test``; they cost more, see
            :class:`~unlearn_pl.callbacks.MoreAttacks`.

    Raises:
        ValueError: if ``compat`` is unknown.

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
        compat: Compat = None,
        more_attacks: MoreAttacks | None = None,
    ) -> None:
        super().__init__(output)
        follows_openunlearning(compat)
        self.retain_results = retain_results
        self.truth_ratio_average = truth_ratio_average
        self.compat = compat
        self._retain_ratios: dict[int, float] | None = None
        self.more_attacks = more_attacks
        self._more_metrics: Callable[[], Mapping[str, PerExampleMetric]] = dict
        self._retain_attacks: tuple[Scores, Scores] = ({}, {})

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Read the retain model's results, so that a wrong file is found before the work starts.

        Raises:
            ValueError: if they are not there, not readable, or about other forget questions.
        """
        super().setup(trainer, pl_module, stage)
        if self.more_attacks is not None:
            self.more_attacks.prepare(trainer, pl_module)
            self._more_metrics = partial(self.more_attacks.metrics, trainer, self.compat)
        if self.retain_results is None:
            return
        self._retain_ratios = read_truth_ratios(self.retain_results, self.truth_ratio_average)
        self._retain_attacks = read_membership_scores(self.retain_results, (MEMBERS, NONMEMBERS), self.compat)
        check_questions(trainer, self.retain_results, (MEMBERS, NONMEMBERS))

    def make_metrics(self, loader: str) -> Mapping[str, PerExampleMetric]:
        """NLLs of the candidates, memorization and attacks by TOFU's splits, ROUGE for their ``.generate`` loaders."""
        split = loader.removesuffix(GENERATE)
        if loader.endswith(GENERATE):
            fluency = {"fluency": Fluency()} if split == "forget" else {}
            return {"rouge": RougeRecall(), **fluency} if split in SPLITS else {}
        metrics: dict[str, PerExampleMetric] = {"candidates": CandidateNLL()} if split in SPLITS else {}
        if split in MEMORIZED:
            metrics["exact_memorization"] = ExactMemorization(self.compat)
            metrics["extraction_strength"] = ExtractionStrength(self.compat)
        if split in (MEMBERS, NONMEMBERS) and NONMEMBERS in self.loaders:
            metrics |= membership_attacks(self.compat)
            metrics |= self._more_metrics() if self.stage == "test" else {}
        return metrics

    def summarize(self, collected: Collected) -> tuple[dict[str, float], PerExample]:
        """TOFU's metrics, memorization and PrivLeak, and the scores per example."""
        tofu: dict[str, dict[str, dict[int, float]]] = {}
        others: dict[str, dict[str, dict[int, float]]] = {}
        for loader, metrics in collected.items():
            split = loader.removesuffix(GENERATE)
            for name, metric in metrics.items():
                if isinstance(metric, CandidateNLL):
                    candidates = metric.candidates()
                    tofu.setdefault(split, {}).update(tofu_scores(split, candidates, self.truth_ratio_average))
                    if split == "forget" and "exact_memorization" in metrics:
                        others.setdefault(split, {}).update(paraphrase_scores(candidates))
                else:
                    table = tofu if name in ("rouge", "fluency") else others
                    table.setdefault(split, {})[name] = metric.per_example()
        self._check_questions(tofu.get("forget", {}).get("truth_ratio", {}))
        found = {
            **tofu_metrics(tofu, self._retain_ratios),
            **memorization_metrics(others),
            **self._membership_metrics(others),
        }
        found |= tofu_aggregates(found, others.get("forget", {}))
        splits = dict.fromkeys([*tofu, *others])
        return found, {split: {**tofu.get(split, {}), **others.get(split, {})} for split in splits}

    def on_test_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Log the metrics, keep the results and write them."""
        super().on_test_epoch_end(trainer, pl_module)
        metrics = self.results.metrics if self.results else {}
        if missing := [name for name in UTILITY_METRICS if name not in metrics]:
            self.warn_once(f"model_utility is not computed, because there is no {', '.join(missing)}.")

    def _membership_metrics(self, per_example: PerExample) -> dict[str, float]:
        members, nonmembers = per_example.get(MEMBERS, {}), per_example.get(NONMEMBERS, {})
        metrics = membership_metrics(members, nonmembers, *self._retain_attacks, self.compat)
        metrics |= membership_intervals(members, nonmembers) if self.stage == "test" else {}
        if "privleak" in metrics and not all(self._retain_attacks):
            self.warn_once(
                "privleak compares with chance, because there are no retain_results with a holdout split. Test a model "
                "that was trained on the retain set only with both splits, and give its results.json."
            )
        return metrics

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
