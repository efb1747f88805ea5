"""Comparison of several evaluations, with bootstrap intervals of their metrics and of their differences."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import torch
from torch import Tensor

from unlearn_pl.metrics import Direction
from unlearn_pl.report.evaluation_class import FoundClass, evaluation_class
from unlearn_pl.report.resampling import draw_questions, paired, recomputed_metrics, redrawn_metrics
from unlearn_pl.results import PerExample, Results, check_comparable, evaluation_arguments

ENDS = ("_low", "_high", "_stderr")
"""Endings of metrics that describe the spread of another metric; they have no interval of their own."""


class Estimate(NamedTuple):
    """A number and its interval; None if the number does not follow from scores per example."""

    value: float
    interval: tuple[float, float] | None


@dataclass(frozen=True)
class Comparison:
    """Metrics of several runs, and their differences to the first run.

    Attributes:
        benchmark: name of the benchmark.
        runs: names of the runs; the others are compared with the first.
        values: metric to run to value. A run without the metric is absent.
        differences: metric to run to its value minus that of the first run, for metrics that both have.
        level: coverage probability of the intervals.
        resamples: number of bootstrap draws.
        seed: of the draws.
        notes: what could not be checked, has no interval, or may matter, as sentences.
        directions: metric to what is better, see :data:`~unlearn_pl.metrics.Direction`; None where the evaluation does
            not say.
    """

    benchmark: str
    runs: Sequence[str]
    values: Mapping[str, Mapping[str, Estimate]]
    differences: Mapping[str, Mapping[str, Estimate]]
    level: float
    resamples: int
    seed: int
    notes: Sequence[str]
    directions: Mapping[str, Direction | None] = field(default_factory=dict)


def check_same_evaluation(runs: Mapping[str, Results]) -> list[str]:
    """Check that all ``runs`` measure the same thing on the same questions in the same way.

    See :func:`~unlearn_pl.results.check_comparable`; arguments that only some runs record are compared with the
    defaults of the class of the evaluation.

    Args:
        runs: name to results.

    Returns:
        What could not be checked, or may matter, as sentences.

    Raises:
        ValueError: naming two runs and the difference between them.
    """
    cls = evaluation_class(next(iter(runs.values()))).cls if runs else None
    return check_comparable(runs, cls.default_arguments(), cls.neutral_arguments) if cls else check_comparable(runs)


def compare_results(
    runs: Mapping[str, Results],
    retain: Mapping[str, PerExample] | None = None,
    level: float = 0.95,
    resamples: int = 1000,
    seed: int = 0,
) -> Comparison:
    """Percentile bootstrap over questions, paired: a draw takes the same questions in every run.

    Questions are drawn within their split. The metrics of the benchmark are computed on them by
    :meth:`~unlearn_pl.callbacks.EvaluationCallback.metrics_of` of the class that the results record, with the scores of
    the retain model on the same questions. The interval of a difference is therefore that of the differences within the
    draws, and usually far shorter than the two intervals suggest. Intervals cover the sampling of evaluation questions
    only; they do not cover training seeds.

    A p-value such as the forget quality is not a mean: in samples with replacement, the truth ratios of the two models
    differ more than in the original ones, so its interval is biased downward and may not contain it.

    Args:
        runs: name to results; differences are to the first.
        retain: name of the run to the scores per example of the retain model that it was compared with. Without them,
            metrics that compare with a retain model have no interval.
        level: coverage probability of the intervals, between 0 and 1.
        resamples: number of bootstrap draws.
        seed: of the draws; the same seed gives the same intervals on every machine.

    Raises:
        ValueError: if the runs are not comparable (see :func:`check_same_evaluation`), a metric does not follow from
            its scores, retain models differ, or ``level`` or ``resamples`` are out of range.

    References:
        Efron & Tibshirani, An Introduction to the Bootstrap, 1993, chapter 13.
    """
    _check_numbers(level, resamples)
    notes = check_same_evaluation(runs)
    compared = compare_checked(runs, retain or {}, level, resamples, seed)
    return replace(compared, notes=[*notes, *compared.notes])


def compare_checked(
    runs: Mapping[str, Results], retain: Mapping[str, PerExample], level: float, resamples: int, seed: int
) -> Comparison:
    """:func:`compare_results` of runs that were checked, or of a single one.

    Args:
        runs: name to results; differences are to the first.
        retain: name of the run to the scores per example of its retain model.
        level: coverage probability of the intervals, between 0 and 1.
        resamples: number of bootstrap draws.
        seed: of the draws.

    Raises:
        ValueError: if a metric does not follow from its scores, retain models differ, or ``level`` or ``resamples`` are
            out of range.
    """
    _check_numbers(level, resamples)
    retain = {name: scores for name, scores in retain.items() if _has_retain(runs[name])}
    _check_retain(retain)
    found = {name: evaluation_class(results) for name, results in runs.items()}
    runs, dropped = _without_chance(runs, found)
    followed = {name: recomputed_metrics(name, run, retain.get(name), found[name]) for name, run in runs.items()}
    drawn = _drawn(runs, {n: paired(r, retain.get(n)) for n, r in runs.items()}, found, followed, resamples, seed)
    metrics = list(dict.fromkeys(metric for results in runs.values() for metric in results.metrics))
    first, *others = runs

    def estimate(metric: str, name: str) -> Estimate:
        return Estimate(runs[name].metrics[metric], _interval(drawn[name].get(metric), level))

    def difference(metric: str, name: str) -> Estimate:
        ours, theirs = drawn[name].get(metric), drawn[first].get(metric)
        draws = None if ours is None or theirs is None else ours - theirs
        return Estimate(runs[name].metrics[metric] - runs[first].metrics[metric], _interval(draws, level))

    has = {metric: [name for name in runs if metric in runs[name].metrics] for metric in metrics}
    return Comparison(
        runs[first].benchmark,
        list(runs),
        {metric: {name: estimate(metric, name) for name in has[metric]} for metric in metrics},
        {m: {name: difference(m, name) for name in others if {first, name} <= set(has[m])} for m in metrics},
        level,
        resamples,
        seed,
        [*_without_interval(runs, retain, found, followed), *dropped],
        {metric: found[has[metric][0]].cls.direction(metric) for metric in metrics},
    )


def _check_numbers(level: float, resamples: int) -> None:
    if not 0 < level < 1 or resamples < 1:
        raise ValueError(f"level must be between 0 and 1 and resamples at least 1; got {level} and {resamples}.")


def _has_retain(results: Results) -> bool:
    return evaluation_arguments(results).get("retain_results") is not None


def _check_retain(retain: Mapping[str, PerExample]) -> None:
    first = next(iter(retain), "")
    for name, scores in retain.items():
        if scores != retain[first]:
            raise ValueError(
                f"{first} and {name} cannot be compared: they were compared with different retain models, whose scores "
                "per example differ. Evaluate both with the same retain_results."
            )


def _without_chance(
    runs: Mapping[str, Results], found: Mapping[str, FoundClass]
) -> tuple[Mapping[str, Results], list[str]]:
    """``runs`` without metrics that compare with chance in one run and with a retain model in others; and notes."""
    if not any(map(_has_retain, runs.values())):
        return runs, []
    against_chance = {
        name: [m for m in results.metrics if m in found[name].cls.against_retain and not _has_retain(results)]
        for name, results in runs.items()
    }
    kept = {
        name: replace(results, metrics={m: v for m, v in results.metrics.items() if m not in against_chance[name]})
        for name, results in runs.items()
    }
    notes = [
        f"Without {', '.join(metrics)} of {name}, which was evaluated without retain_results, unlike others."
        for name, metrics in against_chance.items()
        if metrics
    ]
    return kept, notes


def _without_interval(
    runs: Mapping[str, Results],
    retain: Mapping[str, PerExample],
    found: Mapping[str, FoundClass],
    followed: Mapping[str, Sequence[str]],
) -> list[str]:
    """Why metrics have no interval; without those that compare with a retain model whose scores were not given."""
    missing: dict[tuple[str, ...], list[str]] = {}
    for name, results in runs.items():
        unknown = found[name].cls.against_retain if _has_retain(results) and name not in retain else frozenset()
        metrics = [m for m in results.metrics if m not in {*followed[name], *unknown} and not _is_end(m, results)]
        if metrics:
            missing.setdefault(tuple(metrics), []).append(name)
    problems = dict.fromkeys(found[name].problem for name in runs)
    return [
        *filter(None, problems),
        *(
            f"No interval for {', '.join(metrics)} of {', '.join(names)}: {found[names[0]].cls.__name__}.metrics_of "
            "does not reproduce these values from the scores per example."
            for metrics, names in missing.items()
        ),
    ]


def _is_end(metric: str, results: Results) -> bool:
    return any(metric.endswith(end) and metric.removesuffix(end) in results.metrics for end in ENDS)


def _drawn(
    runs: Mapping[str, Results],
    retain: Mapping[str, PerExample | None],
    found: Mapping[str, FoundClass],
    followed: Mapping[str, Sequence[str]],
    resamples: int,
    seed: int,
) -> dict[str, dict[str, Tensor]]:
    """Run to metric to its values ``[resamples]`` on drawn questions."""
    questions: dict[str, set[int]] = {}
    for split, values in ((s, v) for r in runs.values() for s, table in r.per_example.items() for v in table.values()):
        questions.setdefault(split, set()).update(values)
    indices = {split: sorted(found) for split, found in questions.items() if found}
    draws: dict[str, list[dict[str, float]]] = {name: [] for name in runs}
    for number in range(resamples):
        draw = draw_questions(indices, seed, number)
        for name, results in runs.items():
            draws[name].append(redrawn_metrics(results, retain[name], found[name], draw))
    # A score may exist for few examples only; a draw without any of them has no value of the metric, hence NaN.
    return {
        name: {
            metric: torch.tensor([draw.get(metric, math.nan) for draw in draws[name]], dtype=torch.float64)
            for metric in followed[name]
            if any(metric in draw for draw in draws[name])
        }
        for name in runs
    }


def _interval(draws: Tensor | None, level: float) -> tuple[float, float] | None:
    if draws is None:
        return None
    low, high = draws.quantile(torch.tensor([(1 - level) / 2, (1 + level) / 2], dtype=torch.float64)).tolist()
    return low, high
