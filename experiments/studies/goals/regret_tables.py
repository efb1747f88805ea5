"""Regret of every setting against fixed weights, with intervals, from the trials of the study."""

import math
import random
from collections.abc import Callable, Mapping, Sequence
from statistics import mean

from experiments.studies.combiners.analysis import Trial, forget_score

WEIGHT = "weight "
Cell = tuple[str, float]
Figure = Callable[[Trial], float]


def two_sided(trial: Trial) -> float:
    """``utility min(P / P_r, P_r / P)``: 1 if all is kept, and the forget answers are as probable as if retrained."""
    probability, retrained = number(trial, "forget_probability"), number(trial, "retrained_probability")
    if not (math.isfinite(probability) and probability > 0):
        return 0.0
    return kept(trial) * min(probability / retrained, retrained / probability)


def area(trial: Trial) -> float:
    """Forget score, of the log10 of the forget quality, times utility."""
    quality = number(trial, "log10_forget_quality")
    return forget_score(quality, number(trial, "target_log10_forget_quality")) * kept(trial)


def kept(trial: Trial) -> float:
    """Utility as a share of the target's, between 0 and 1; 0 if it is not finite."""
    utility = number(trial, "utility")
    return min(1.0, max(0.0, utility)) if math.isfinite(utility) else 0.0


def number(trial: Trial, key: str) -> float:
    """A figure of a trial."""
    return float(trial[key])  # type: ignore[arg-type]


class Table:
    """The trials by cell, which is a problem at a rate, arm and seed.

    Args:
        trials: of all problems.
        figure: what is compared; larger is better.
    """

    def __init__(self, trials: Sequence[Trial], figure: Figure) -> None:
        self.values: dict[Cell, dict[str, dict[int, float]]] = {}
        for t in trials:
            cell = (str(t["problem"]), number(t, "rate"))
            self.values.setdefault(cell, {}).setdefault(str(t["arm"]), {})[int(number(t, "seed"))] = figure(t)

    def mean(self, cell: Cell, arm: str) -> float:
        """Over the seeds."""
        return mean(self.values[cell][arm].values())

    def weights(self, cell: Cell) -> list[str]:
        """The fixed weights that were tried."""
        return [arm for arm in self.values[cell] if arm.startswith(WEIGHT)]

    def best_weight(self, cell: Cell) -> str:
        """The weight with the largest mean in a cell, with hindsight."""
        return max(self.weights(cell), key=lambda arm: self.mean(cell, arm))

    def weight_from_elsewhere(self, cell: Cell) -> str:
        """The weight that is best on average over all other problems that tried it, at the same rate."""
        others = [c for c in self.values if c[1] == cell[1] and c[0] != cell[0]]

        def elsewhere(arm: str) -> float:
            found = [self.mean(c, arm) for c in others if arm in self.values[c]]
            return mean(found) if found else -1.0

        return max(self.weights(cell), key=elsewhere)

    def regret(self, arm: str, against: Callable[[Cell], str]) -> dict[Cell, dict[int, float]]:
        """Per cell and seed: the value of ``against`` minus that of the arm, where both were run."""
        regrets = {}
        for cell, found in self.values.items():
            if arm in found and self.weights(cell):
                other = found[against(cell)]
                regrets[cell] = {seed: other[seed] - v for seed, v in found[arm].items() if seed in other}
        return {cell: by_seed for cell, by_seed in regrets.items() if by_seed}


def interval(regrets: Mapping[Cell, Mapping[int, float]], resamples: int = 4000, seed: int = 0) -> tuple[float, float]:
    """95 % bootstrap interval of the mean, over problems and seeds; rates of a problem and a seed stay together."""
    rng = random.Random(seed)
    problems = sorted({problem for problem, _ in regrets})
    cells = {p: [by_seed for (problem, _), by_seed in regrets.items() if problem == p] for p in problems}
    means = []
    for _ in range(resamples):
        drawn = []
        for problem in rng.choices(problems, k=len(problems)):
            seeds = sorted(set.intersection(*(set(by_seed) for by_seed in cells[problem])))
            for s in rng.choices(seeds, k=len(seeds)):
                drawn += [by_seed[s] for by_seed in cells[problem]]
        means.append(mean(drawn))
    means.sort()
    return means[int(0.025 * resamples)], means[int(0.975 * resamples)]


def print_tables(trials: Sequence[Trial]) -> None:
    """Regret on both measures against three ways to choose a weight, and means of the plain figures."""
    settings = list(dict.fromkeys(str(t["arm"]) for t in trials if not str(t["arm"]).startswith(WEIGHT)))
    seeds = sorted({int(number(t, "seed")) for t in trials})
    print(f"{len(trials)} runs, seeds {seeds}, {sum(number(t, 'seconds') for t in trials) / 60:.0f} minutes")
    for title, figure in (("two-sided measure", two_sided), ("forget quality times utility", area)):
        table = Table(trials, figure)
        print(f"\nRegret on the {title}; negative is better than the weight\n")
        print("| one setting | seeds | best of nine, hindsight | worst cell | weight 1 | weight from other problems |")
        print("|---|---|---|---|---|---|")
        for arm in [*settings, f"{WEIGHT}1"]:
            against = (table.best_weight, lambda _: f"{WEIGHT}1", table.weight_from_elsewhere)
            found = [table.regret(arm, choice) for choice in against]
            worst = max(mean(by_seed.values()) for by_seed in found[0].values())
            cells = [shown(found[0]), f"{worst:.2f}", shown(found[1]), shown(found[2])]
            seen = len({seed for by_seed in found[0].values() for seed in by_seed})
            print(f"| {arm} | {seen} | " + " | ".join(cells) + " |")
        for problem in dict.fromkeys(p for p, _ in table.values):
            print(f"  {problem}: " + ", ".join(shown_cell(table, c) for c in table.values if c[0] == problem))
    print_means(trials, settings)


def shown(regrets: Mapping[Cell, Mapping[int, float]]) -> str:
    """Mean and interval."""
    low, high = interval(regrets)
    return f"{mean(v for by_seed in regrets.values() for v in by_seed.values()):.3f} [{low:.3f}, {high:.3f}]"


def shown_cell(table: Table, cell: Cell) -> str:
    """The best weight of a cell and its value."""
    best = table.best_weight(cell)
    return f"lr {cell[1]:g} best {best} {table.mean(cell, best):.2f}"


def print_means(trials: Sequence[Trial], settings: Sequence[str]) -> None:
    """Distance to the retrained model in both directions, utility, dip and truth ratio, over all cells."""
    print("\n| arm | above retrained | below retrained | utility | dip | worst dip | truth ratio - retrained |")
    print("|---|---|---|---|---|---|---|")
    for arm in [*settings, f"{WEIGHT}1"]:
        mine = [t for t in trials if t["arm"] == arm and math.isfinite(number(t, "forget_probability"))]
        gap = [number(t, "forget_probability") - number(t, "retrained_probability") for t in mine]
        ratios = [number(t, "forget_truth_ratio") - number(t, "retrained_truth_ratio") for t in mine]
        dips = [number(t, "dip") for t in mine]
        cells = [mean(max(0.0, g) for g in gap), mean(max(0.0, -g) for g in gap), mean(map(kept, mine))]
        cells += [mean(dips), max(dips), mean(ratios)]
        print(f"| {arm} | " + " | ".join(f"{cell:.3f}" for cell in cells) + " |")
