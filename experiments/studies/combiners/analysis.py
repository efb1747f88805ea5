"""What the study of combiners computes from its trials: pure functions on numbers."""

import random
from collections.abc import Callable, Mapping, Sequence
from statistics import mean

Trial = Mapping[str, object]


def forget_score(log10_quality: float, target_log10_quality: float) -> float:
    """``1 - log10 p / log10 p_target`` in [0, 1]: 0 for the model that is to forget, 1 for the retain model (p = 1)."""
    return min(1.0, max(0.0, 1.0 - log10_quality / target_log10_quality))


def hypervolume(points: Sequence[tuple[float, float]]) -> float:
    """Area of what the points dominate in the plane, both coordinates to be maximized, from the origin on."""
    area = height = 0.0
    for x, y in sorted(points, reverse=True):
        if x > 0 and y > height:
            area += x * (y - height)
            height = y
    return area


def area(trial: Trial) -> float:
    """Forget score times utility: the hypervolume of a single point."""
    return trial["forget_score"] * trial["utility"]  # type: ignore[operator, no-any-return]


def worst(trial: Trial) -> float:
    """The smaller one of forget score and utility."""
    return min(trial["forget_score"], trial["utility"])  # type: ignore[type-var, return-value]


def front(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """The points that no other one dominates, the largest first coordinate first."""
    best, kept = float("-inf"), []
    for x, y in sorted(points, reverse=True):
        if y > best:
            best = y
            kept.append((x, y))
    return kept


def paired_interval(
    differences: Sequence[float], level: float = 0.95, resamples: int = 10_000, seed: int = 0
) -> tuple[float, float]:
    """Percentile bootstrap interval of the mean of paired differences, one per seed."""
    rng = random.Random(seed)
    n = len(differences)
    means = sorted(sum(rng.choices(differences, k=n)) / n for _ in range(resamples))
    tail = (1 - level) / 2
    return means[int(tail * resamples)], means[min(resamples - 1, int((1 - tail) * resamples))]


def best_by(trials: Sequence[Trial], key: str, value: Callable[[Trial], float]) -> object:
    """The ``key`` whose trials have the largest mean ``value``."""
    groups: dict[object, list[float]] = {}
    for trial in trials:
        groups.setdefault(trial[key], []).append(value(trial))
    return max(groups, key=lambda k: mean(groups[k]))


def best_rate(trials: Sequence[Trial], arm: object, tuning: Sequence[int]) -> float:
    """The learning rate of an arm with the largest mean area on the tuning seeds, among the trials of one problem."""
    mine = [t for t in trials if t["arm"] == arm and t["seed"] in tuning]
    return float(best_by(mine, "rate", area))  # type: ignore[arg-type]
