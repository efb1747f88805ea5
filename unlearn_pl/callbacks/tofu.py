"""The TOFU benchmark."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import ClassVar, cast

import lightning.pytorch as pl

from unlearn_pl.callbacks.described.headline import Headline
from unlearn_pl.callbacks.evaluation import GENERATE, NO_ARGUMENTS, Arguments, Collected, EvaluationCallback
from unlearn_pl.callbacks.leaks.sampled import Leaks
from unlearn_pl.callbacks.more_attacks import MoreAttacks
from unlearn_pl.callbacks.retain import check_questions, check_retain_auc, compares_with_chance, membership_of
from unlearn_pl.functional import Compat
from unlearn_pl.functional.evaluation.compat import follows_openunlearning
from unlearn_pl.functional.evaluation.tofu import TruthRatioAverage
from unlearn_pl.metrics import (
    CandidateNLL,
    Direction,
    ExactMemorization,
    ExtractionStrength,
    Fluency,
    PerExampleMetric,
    RougeRecall,
    leak_metrics,
    membership_attacks,
    membership_intervals,
    memorization_metrics,
    paraphrase_scores,
    read_membership_scores,
    read_truth_ratios,
    tofu_aggregates,
    tofu_metrics,
    tofu_scores,
)
from unlearn_pl.metrics.tofu.scores import SPLITS, UTILITY_METRICS
from unlearn_pl.results import PerExample

FORGET = "forget"
MEMBERS, NONMEMBERS = FORGET, "holdout"
MEMORIZED = ("forget", "retain", "holdout")
"""Splits whose memorization is measured."""

TOFU_SCORES = ("probability", "truth_ratio", "rouge", "fluency")
"""Scores that :func:`~unlearn_pl.metrics.tofu_metrics` reads."""


class TOFUEvaluation(EvaluationCallback):
    """Forget quality, model utility and their parts, see :func:`~unlearn_pl.metrics.tofu_metrics`; memorization, leaks.

    ``validate`` computes everything that needs no generation, for curves over the epochs: probabilities, truth ratios
    and forget quality; ``{split}_exact_memorization`` and ``{split}_extraction_strength`` of the forget, retain and
    holdout answers. ``test`` adds ROUGE, the model utility and ``forget_fluency``, which is low for generated answers
    that repeat themselves. Of what is measured on the forget set, the values of a retain model are the best; all
    aggregates, ``memorization`` included, are the better the higher they are. They are those of
    :func:`~unlearn_pl.metrics.tofu_aggregates`.

    With a split ``holdout``, of questions like those of the forget set that no model was trained on, there are also
    membership inference and PrivLeak, see :func:`~unlearn_pl.metrics.membership_metrics`; in ``test`` every AUC has an
    interval, see :func:`~unlearn_pl.metrics.membership_intervals`.

    Args:
        retain_results: evaluation of a retain model, which was trained on the retain set only; needed for the forget
            quality. A ``results.json`` of this callback, TOFU's ``eval_log_aggregated.json`` or OpenUnlearning's
            ``TOFU_EVAL.json``. PrivLeak reads the first only; without it, PrivLeak compares with ``retain_auc``.
        output: file that ``test`` writes; by default ``results.json`` in the logger's directory.
        truth_ratio_average: see :func:`~unlearn_pl.functional.truth_ratio`; also that of ``memorization``.
        compat: conventions of memorization, membership inference and PrivLeak: None for ours, ``openunlearning`` for
            those of OpenUnlearning. The differences are documented in
            :func:`~unlearn_pl.functional.extraction_strength`, :func:`~unlearn_pl.functional.min_k` and
            :func:`~unlearn_pl.functional.priv_leak`.
        more_attacks: further, more expensive membership attacks, in ``test``; see
            :class:`~unlearn_pl.callbacks.MoreAttacks`.
        retain_auc: the AUC of Min-K% on a retain model, if it is published but the model's scores are not (those of
            OpenUnlearning's ``TOFU_EVAL.json`` are no scores of this kind); None for chance, 0.5.
        leaks: leaks in sampled answers, in ``test``: ``{split}_leak_at_{k}`` and ``{split}_best_of_{k}``; see
            :class:`~unlearn_pl.callbacks.Leaks`. None for none.

    Raises:
        ValueError: if ``compat`` is unknown, or ``retain_auc`` is not in ``[0, 1]``.

    Example:
        >>> evaluation = TOFUEvaluation(output="results/npo.json")

    References:
        Maini et al., "TOFU: A Task of Fictitious Unlearning for LLMs", COLM 2024, arXiv 2401.06121.
    """

    benchmark: ClassVar[str] = "tofu"
    headline: ClassVar[Headline] = Headline(utility=("model_utility",))
    against_retain: ClassVar[frozenset[str]] = frozenset(
        {"forget_quality", "log10_forget_quality", "privleak", "privacy", "overall"}
    )
    directions: ClassVar[Mapping[str, Direction]] = {
        **dict.fromkeys(("*forget_quality", "forget_fluency", "model_utility"), "higher"),
        **dict.fromkeys(("memorization", "privacy", "utility", "overall"), "higher"),
        **dict.fromkeys(("forget_*", "holdout_*", "auc_*", "privleak"), "retain"),
        **dict.fromkeys(("retain_*", "real_authors_*", "world_facts_*"), "higher"),
    }

    def __init__(
        self,
        retain_results: str | None = None,
        output: str | None = None,
        truth_ratio_average: TruthRatioAverage = "geometric",
        compat: Compat = None,
        more_attacks: MoreAttacks | None = None,
        retain_auc: float | None = None,
        leaks: Leaks | None = None,
    ) -> None:
        super().__init__(output)
        follows_openunlearning(compat)
        check_retain_auc(retain_auc, None)  # retain_results may hold truth ratios alone, see setup
        self.retain_results = retain_results
        self.truth_ratio_average = truth_ratio_average
        self.compat = compat
        self.more_attacks = more_attacks
        self.retain_auc = retain_auc
        self.leaks = leaks
        self._leaks_of: Callable[[str], Mapping[str, PerExampleMetric]] = lambda split: {}
        self._more_metrics: Callable[[], Mapping[str, PerExampleMetric]] = dict

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Read the results of the retain model, so that a wrong file is found before the work starts.

        Raises:
            ValueError: if they are missing, not readable, or about other questions.
        """
        super().setup(trainer, pl_module, stage)
        if self.more_attacks is not None:
            self.more_attacks.prepare(trainer, pl_module)
            self._more_metrics = partial(self.more_attacks.metrics, trainer, self.compat)
        if self.retain_results is None:
            return
        arguments = {"truth_ratio_average": self.truth_ratio_average, "compat": self.compat}
        self.retain_scores = self.read_retain_scores(self.retain_results, arguments)
        if not compares_with_chance(self.retain_scores, (MEMBERS, NONMEMBERS)):
            check_retain_auc(self.retain_auc, self.retain_results)
        check_questions(trainer, self.retain_results, (MEMBERS, NONMEMBERS))

    def on_test_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Start with new metrics."""
        if self.leaks is not None:
            self.leaks.check(trainer.test_dataloaders)
            self._leaks_of = partial(self.leaks.metrics, trainer, pl_module)
        super().on_test_epoch_start(trainer, pl_module)

    def make_metrics(self, loader: str) -> Mapping[str, PerExampleMetric]:
        """NLLs of candidates, memorization and attacks for TOFU's splits; ROUGE for their ``.generate`` loaders."""
        split = loader.removesuffix(GENERATE)
        if loader.endswith(GENERATE):
            fluency = {"fluency": Fluency()} if split == FORGET else {}
            rouge = {"rouge": RougeRecall(), **fluency} if split in SPLITS else {}
            return {**rouge, **self._leaks_of(split)}
        metrics: dict[str, PerExampleMetric] = {"candidates": CandidateNLL()} if split in SPLITS else {}
        if split in MEMORIZED:
            metrics["exact_memorization"] = ExactMemorization(self.compat)
            metrics["extraction_strength"] = ExtractionStrength(self.compat)
        if split in (MEMBERS, NONMEMBERS) and NONMEMBERS in self.loaders:
            metrics |= membership_attacks(self.compat)
            metrics |= self._more_metrics() if self.stage == "test" else {}
        return metrics

    @classmethod
    def metrics_of(
        cls, per_example: PerExample, retain: PerExample | None = None, arguments: Arguments = NO_ARGUMENTS
    ) -> dict[str, float]:
        """TOFU's metrics, memorization, membership inference and PrivLeak, and aggregates of them.

        Args:
            per_example: split to score to index to value.
            retain: the same of the retain model; None for no forget quality, and a PrivLeak compared with
                ``retain_auc`` or chance.
            arguments: those of the callback; ``compat`` and ``retain_auc`` are read.
        """
        forget = per_example.get(FORGET, {})
        tofu = {
            split: {name: values for name, values in table.items() if name in TOFU_SCORES}
            for split, table in per_example.items()
        }
        found = {
            **tofu_metrics(tofu, (retain or {}).get(FORGET, {}).get("truth_ratio")),
            **memorization_metrics(per_example),
            **leak_metrics(per_example),
            **membership_of((MEMBERS, NONMEMBERS), per_example, retain, arguments),
        }
        return found | tofu_aggregates(found, forget)

    @classmethod
    def read_retain_scores(cls, path: str, arguments: Arguments = NO_ARGUMENTS) -> PerExample:
        """Truth ratios of the forget set, from any file that ``retain_results`` accepts, and scores of attacks, if any.

        Args:
            path: evaluation of the retain model.
            arguments: those of the callback; ``truth_ratio_average`` and ``compat`` are read.

        Raises:
            ValueError: if the file has no truth ratios, or follows other conventions.
        """
        ratios = read_truth_ratios(path, cast(TruthRatioAverage, arguments.get("truth_ratio_average", "geometric")))
        members, nonmembers = read_membership_scores(path, (MEMBERS, NONMEMBERS), cast(Compat, arguments.get("compat")))
        return {MEMBERS: {"truth_ratio": ratios, **members}, NONMEMBERS: nonmembers}

    def scores_of(self, collected: Collected) -> PerExample:
        """Probabilities and truth ratios of the answers, and what the other metrics keep."""
        tofu: dict[str, dict[str, dict[int, float]]] = {}
        others: dict[str, dict[str, dict[int, float]]] = {}
        for loader, metrics in collected.items():
            split = loader.removesuffix(GENERATE)
            for name, metric in metrics.items():
                if isinstance(metric, CandidateNLL):
                    candidates = metric.candidates()
                    tofu.setdefault(split, {}).update(tofu_scores(split, candidates, self.truth_ratio_average))
                    if split == FORGET and "exact_memorization" in metrics:
                        others.setdefault(split, {}).update(paraphrase_scores(candidates, self.truth_ratio_average))
                else:
                    table = tofu if name in TOFU_SCORES else others
                    table.setdefault(split, {}).update(metric.columns(name))
        splits = dict.fromkeys([*tofu, *others])
        return {split: {**tofu.get(split, {}), **others.get(split, {})} for split in splits}

    def summarize(self, collected: Collected) -> tuple[dict[str, float], PerExample]:
        """The metrics, in ``test`` with intervals of the AUCs, and the scores per example."""
        per_example = self.scores_of(collected)
        self._check_questions(per_example.get(FORGET, {}).get("truth_ratio", {}))
        arguments = {"compat": self.compat, "retain_auc": self.retain_auc}
        metrics = self.metrics_of(per_example, self.retain_scores, arguments)
        if self.stage == "test":
            metrics |= membership_intervals(per_example.get(MEMBERS, {}), per_example.get(NONMEMBERS, {}))
        against_chance = self.retain_auc is None and compares_with_chance(self.retain_scores, (MEMBERS, NONMEMBERS))
        if "privleak" in metrics and against_chance:
            self.warn_once(
                "privleak compares with chance, because there are no retain_results with a holdout split. Test a "
                "retain model, trained on the retain set only, with both splits, and give its results.json."
            )
        return metrics, per_example

    def on_test_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Log the metrics; keep and write the results."""
        super().on_test_epoch_end(trainer, pl_module)
        metrics = self.results.metrics if self.results else {}
        if missing := [name for name in UTILITY_METRICS if name not in metrics]:
            self.warn_once(f"model_utility is not computed, because there is no {', '.join(missing)}.")

    def _check_questions(self, ratios: Mapping[int, float]) -> None:
        retain_ratios = (self.retain_scores or {}).get(FORGET, {}).get("truth_ratio")
        if ratios and retain_ratios is None:
            self.warn_once(
                "forget_quality is not computed, because it compares with a retain model, trained on the retain set "
                "only. Train one, test it with TOFUEvaluation, and give its results.json as retain_results."
            )
        elif ratios and retain_ratios is not None and ratios.keys() != retain_ratios.keys():
            self.warn_once(
                f"forget_quality compares answers to different questions: {len(ratios)} forget questions were "
                f"evaluated, {len(retain_ratios)} are in {self.retain_results!r}, and "
                f"{len(ratios.keys() & retain_ratios.keys())} are in both."
            )
