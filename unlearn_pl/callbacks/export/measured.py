"""Metrics of an export before and after training, with intervals."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch

from unlearn_pl.functional import bootstrap_interval
from unlearn_pl.results import PerExample

LEVEL = 0.95
_BOUNDS = ("_low", "_high")


@dataclass(frozen=True)
class Measured:
    """A metric of a benchmark.

    Attributes:
        benchmark: name of the benchmark.
        name: name of the metric.
        before: value before training; None if it was not computed.
        after: value after training; None if it was not computed.
        interval: 95 % interval of ``after`` over other examples of the same kind; None if it is not known.
    """

    benchmark: str
    name: str
    before: float | None
    after: float | None
    interval: tuple[float, float] | None = None


def measured_by(
    benchmark: str, before: Mapping[str, float], after: Mapping[str, float], scores: PerExample
) -> list[Measured]:
    """The metrics of one evaluation.

    Ends of intervals that the evaluation computes itself, ``<metric>_low`` and ``<metric>_high``, go with their metric.
    A metric that is the mean of a score has a bootstrap interval. Aggregates of several scores have none here.

    Args:
        benchmark: its name.
        before: metrics before training.
        after: metrics after training.
        scores: the scores per example behind ``after``.
    """
    names = dict.fromkeys([*before, *after])
    ends = {name + end for name in names for end in _BOUNDS if all(name + each in names for each in _BOUNDS)}
    return [
        Measured(benchmark, name, before.get(name), after.get(name), _interval(name, after, scores))
        for name in names
        if name not in ends
    ]


def _interval(name: str, after: Mapping[str, float], scores: PerExample) -> tuple[float, float] | None:
    low, high = (after.get(name + end) for end in _BOUNDS)
    if low is not None and high is not None:
        return low, high
    value, values = after.get(name), _scores(name, scores)
    if (
        value is None
        or len(values) < 2
        or not math.isclose(sum(values) / len(values), value, rel_tol=1e-6, abs_tol=1e-9)
    ):
        return None
    return bootstrap_interval(_mean, values, level=LEVEL)


def _scores(name: str, scores: PerExample) -> Sequence[float]:
    """The values of the score that is called ``<split>_<score>``; empty if there is none."""
    return next(
        (list(v.values()) for split, table in scores.items() for s, v in table.items() if f"{split}_{s}" == name), []
    )


def _mean(sample: torch.Tensor) -> float:
    return sample.mean().item()
