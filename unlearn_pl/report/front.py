"""The settings of a sweep that no other setting beats: means over seeds with intervals, and the Pareto front."""

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

Better = Literal["higher", "lower"]


@dataclass(frozen=True)
class Mean:
    """Mean over seeds, with the half width of its 95 % interval by Student's t; None with a single seed."""

    value: float
    half_width: float | None
    seeds: int


@dataclass(frozen=True)
class Front:
    """Settings of a sweep, and which of them no other one beats.

    Attributes:
        axes: metric to which values are better.
        means: setting to metric to its mean over seeds; the axes and what else was asked for.
        best: settings of the Pareto front of the means, in the order of the first axis, best first.
    """

    axes: Mapping[str, Better]
    means: Mapping[str, Mapping[str, Mean]]
    best: Sequence[str]


def pareto_front(
    outcomes: Mapping[str, Sequence[Mapping[str, float]]], axes: Mapping[str, Better], others: Sequence[str] = ()
) -> Front:
    """The front of the means over seeds.

    A setting is on the front if no other one is at least as good on every axis and better on one. A setting one of
    whose runs has no number on an axis is not.

    Args:
        outcomes: setting to the metrics of its runs, one mapping per seed.
        axes: metric to which values are better.
        others: further metrics to average, of those that have them.

    Raises:
        ValueError: if there is no axis, or no run has the metric of one; naming the metrics that there are.
    """
    known = sorted({metric for runs in outcomes.values() for run in runs for metric in run})
    if not axes or (missing := [axis for axis in axes if axis not in known]):
        wanted = f"no run has {', '.join(missing)}" if axes else "there is no axis"
        raise ValueError(f"The front needs metrics of the runs: {wanted}. Metrics of the runs: {', '.join(known)}.")
    means = {
        setting: {
            metric: mean_over_seeds([run[metric] for run in runs])
            for metric in (*axes, *others)
            if all(metric in run for run in runs)
        }
        for setting, runs in outcomes.items()
        if runs
    }
    losses = {
        setting: [_loss(row[axis].value, better) for axis, better in axes.items()]
        for setting, row in means.items()
        if row.keys() >= axes.keys() and not any(math.isnan(row[axis].value) for axis in axes)
    }
    best = [setting for setting, ours in losses.items() if not any(_beats(theirs, ours) for theirs in losses.values())]
    return Front(dict(axes), means, sorted(best, key=lambda setting: losses[setting]))


def mean_over_seeds(values: Sequence[float]) -> Mean:
    """The mean of one number per seed, with its interval by Student's t.

    Args:
        values: at least one.
    """
    from scipy.stats import t  # takes a second

    if len(values) == 1:
        return Mean(values[0], None, 1)
    spread = statistics.stdev(values) if all(map(math.isfinite, values)) else math.nan
    width = float(t.ppf(0.975, len(values) - 1)) * spread / math.sqrt(len(values))
    return Mean(sum(values) / len(values), width, len(values))


def _loss(value: float, better: Better) -> float:
    return value if better == "lower" else -value


def _beats(theirs: Sequence[float], ours: Sequence[float]) -> bool:
    return all(a <= b for a, b in zip(theirs, ours, strict=True)) and list(theirs) != list(ours)
