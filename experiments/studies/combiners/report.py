"""Tables and picture of the study of combiners, made from its trials."""

from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from statistics import mean
from typing import TYPE_CHECKING

from experiments.studies.combiners.analysis import (
    Trial,
    area,
    best_by,
    best_rate,
    front,
    hypervolume,
    paired_interval,
    worst,
)
from experiments.studies.combiners.arms import SATISFIED_SUM, SUM

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLUMNS = (
    "arm", "lr", "log10 FQ", "P(forget)", "forget score", "utility", "area", "minus best fixed", "worst",
    "minus best fixed", "descend",
)  # fmt: skip
MEANS = ("log10_forget_quality", "forget_probability", "forget_score", "utility")


def is_sweep(arm: object) -> bool:
    """Whether an arm is one of the fixed weights."""
    return str(arm).startswith(SUM)


def is_rule(arm: object) -> bool:
    """Whether an arm weighs gradients anew at every step."""
    return not str(arm).startswith((SUM, SATISFIED_SUM))


def point(trial: Trial) -> tuple[float, float]:
    """``(utility, forget score)``."""
    return trial["utility"], trial["forget_score"]  # type: ignore[return-value]


def print_tables(problem: str, trials: Sequence[Trial], tuning: Sequence[int], final: Sequence[int]) -> None:
    """Print what the arms reach on the final seeds at their tuned rates, and what the sweep reaches as a whole.

    Args:
        problem: its name.
        trials: of this problem.
        tuning: seeds on which the rates were chosen.
        final: seeds of the figures.
    """
    chosen = tuned(trials, tuning, final)
    names = list(dict.fromkeys(str(t["arm"]) for t in chosen))
    sweep = [t for t in chosen if is_sweep(t["arm"])]
    fixed = of(chosen, str(best_by(sweep, "arm", area)))
    print(f"\n## {problem}: {len(final)} seeds, {len(trials)} runs, {sum_of(trials, 'seconds') / 60:.0f} minutes\n")
    print(f"| {' | '.join(COLUMNS)} |\n{'|---' * len(COLUMNS)}|")
    for name in sorted(names, key=lambda n: -mean(area(t) for t in of(chosen, n))):
        print(f"| {' | '.join(cells(of(chosen, name), fixed))} |")
    print(f"\nThe best fixed weight on these seeds: {fixed[0]['arm']}.")
    print_sets(trials, chosen, tuning, final)
    print_all_rates(trials, tuning)


def print_sets(trials: Sequence[Trial], chosen: Sequence[Trial], tuning: Sequence[int], final: Sequence[int]) -> None:
    """Print hypervolumes of nine points: the whole sweep, and as many rules, those that the tuning seeds favor."""
    ranked = {keep: ranked_on_tuning(trials, tuning, keep) for keep in (is_sweep, is_rule)}
    weight, rule = (of(chosen, ranked[keep][0]) for keep in (is_sweep, is_rule))
    print(
        f"Picked on the tuning seeds: {rule[0]['arm']} against {weight[0]['arm']}: "
        f"area {difference(gaps(rule, weight, area))}, worst {difference(gaps(rule, weight, worst))}."
    )
    sweep, rules = (set(ranked[keep][:9]) for keep in (is_sweep, is_rule))
    volumes = {seed: [volume_of(chosen, arms, seed) for arms in (sweep, rules)] for seed in final}
    print(
        f"Hypervolume of the whole sweep, nine points at their tuned rates: {mean(v[0] for v in volumes.values()):.3f};"
        f" of the nine rules that are best on the tuning seeds: {mean(v[1] for v in volumes.values()):.3f}, "
        f"difference {difference([v[1] - v[0] for v in volumes.values()])}."
    )
    leader = max({str(t["arm"]) for t in chosen if is_rule(t["arm"])}, key=lambda n: mean(map(area, of(chosen, n))))
    above = [area(t) - volumes[t["seed"]][0] for t in of(chosen, leader)]  # type: ignore[index]
    print(f"The one point of {leader}, the best rule on these seeds, minus the whole sweep: {difference(above)}.")


def volume_of(chosen: Sequence[Trial], arms: Collection[str], seed: int) -> float:
    """Hypervolume of some arms on a seed."""
    return hypervolume([point(t) for t in chosen if t["seed"] == seed and t["arm"] in arms])


def ranked_on_tuning(trials: Sequence[Trial], tuning: Sequence[int], keep: Callable[[object], bool]) -> list[str]:
    """The arms of a kind by their area on the tuning seeds, each at its best rate."""
    seen = tuned(trials, tuning, tuning)
    return sorted({str(t["arm"]) for t in seen if keep(t["arm"])}, key=lambda n: (-mean(map(area, of(seen, n))), n))


def print_all_rates(trials: Sequence[Trial], tuning: Sequence[int]) -> None:
    """Print hypervolumes of all learning rates together, on the tuning seeds, where every arm ran at all of them."""
    seen = [t for t in trials if t["seed"] in tuning]

    def volume(keep: Callable[[object], bool]) -> float:
        return mean(hypervolume([point(t) for t in seen if t["seed"] == seed and keep(t["arm"])]) for seed in tuning)

    names = list(dict.fromkeys(t["arm"] for t in seen))
    volumes = {str(name): volume(lambda arm, name=name: arm == name) for name in names}  # type: ignore[misc]
    print(f"Hypervolume over all learning rates, tuning seeds: whole sweep {volume(is_sweep):.3f}; by arm:")
    print("  " + ", ".join(f"{n} {v:.3f}" for n, v in sorted(volumes.items(), key=lambda item: -item[1])))


def tuned(trials: Sequence[Trial], tuning: Sequence[int], final: Sequence[int]) -> list[Trial]:
    """The trials of the final seeds at the rate that is best on the tuning seeds."""
    chosen = []
    for arm in dict.fromkeys(t["arm"] for t in trials):
        rate = best_rate(trials, arm, tuning)
        chosen += [t for t in trials if (t["arm"], t["rate"]) == (arm, rate) and t["seed"] in final]
    return chosen


def cells(mine: Sequence[Trial], fixed: Sequence[Trial]) -> list[str]:
    """One row of the table."""
    row = [str(mine[0]["arm"]), f"{mine[0]['rate']:g}"]
    row += [f"{mean(t[column] for t in mine):.2f}" for column in MEANS]  # type: ignore[misc]
    for figure in (area, worst):
        row += [f"{mean(map(figure, mine)):.2f}", difference(gaps(mine, fixed, figure))]
    seen = [t["descent"]["all"] for t in mine if t["descent"]]  # type: ignore[index]
    return [*row, f"{mean(seen):.2f}" if seen else "-"]


def gaps(mine: Sequence[Trial], fixed: Sequence[Trial], figure: Callable[[Trial], float]) -> list[float]:
    """Differences between two arms, seed by seed."""
    other = {t["seed"]: figure(t) for t in fixed}
    return [figure(t) - other[t["seed"]] for t in mine]


def difference(values: Sequence[float]) -> str:
    """Mean and interval."""
    low, high = paired_interval(values)
    return f"{mean(values):+.2f} [{low:+.2f}, {high:+.2f}]"


def of(trials: Sequence[Trial], arm: str) -> list[Trial]:
    """The trials of an arm."""
    return [t for t in trials if t["arm"] == arm]


def sum_of(trials: Sequence[Trial], key: str) -> float:
    """Sum of a column."""
    return sum(float(t[key]) for t in trials)  # type: ignore[arg-type]


def plot(
    trials: Sequence[Trial], problems: Sequence[str], tuning: Sequence[int], final: Sequence[int], path: str | Path
) -> None:
    """Draw a panel per problem: every rule as a number, the sweep as a line, and what the sweep dominates.

    Args:
        trials: of all problems.
        problems: names of the panels.
        tuning: seeds on which the rates were chosen.
        final: seeds over which points are averaged.
        path: PNG file to write.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4 * len(problems), 6.6), layout="constrained")
    FigureCanvasAgg(figure)
    for i, problem in enumerate(problems):
        axes = figure.add_subplot(1, len(problems), i + 1)
        draw(axes, tuned([t for t in trials if t["problem"] == problem], tuning, final))
        axes.set(title=problem.upper(), xlabel="utility, share of the target's", ylabel="forget score")
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=90)


def draw(axes: "Axes", chosen: Sequence[Trial]) -> None:
    """One panel: means over the seeds."""
    names = list(dict.fromkeys(str(t["arm"]) for t in chosen))
    points = {n: (mean(point(t)[0] for t in of(chosen, n)), mean(point(t)[1] for t in of(chosen, n))) for n in names}
    sweep = [points[name] for name in names if is_sweep(name)]
    edge = front(sweep)
    corners = [(edge[0][0], 0.0)]
    for x, y in edge:
        corners += [(x, corners[-1][1]), (x, y)]
    corners += [(0.0, edge[-1][1])]
    axes.fill(*zip((0.0, 0.0), *corners, strict=True), color="0.92", label="dominated by the sweep")
    axes.plot(*zip(*sweep, strict=True), "o", color="0.45", markersize=4, label="fixed weight of the forget loss")
    for name in names:
        if is_sweep(name):
            mark(axes, name.removeprefix(SUM), points[name], "0.35", 7, (3, 3))
    rest = sorted((name for name in names if not is_sweep(name)), key=lambda n: -points[n][0] * points[n][1])
    for number, name in enumerate(rest, start=1):
        color = "tab:blue" if is_rule(name) else "tab:orange"
        mark(axes, str(number), points[name], color, 9, (0, 0))
        axes.plot([], [], " ", label=f"{number}  {name}")
    axes.set(xlim=(min(x for x, _ in points.values()) - 0.03, 1.01), ylim=(0.0, 1.03))
    axes.grid(alpha=0.3)
    axes.legend(fontsize=6.5, ncols=2, loc="upper center", bbox_to_anchor=(0.5, -0.1), frameon=False)


def mark(axes: "Axes", text: str, where: tuple[float, float], color: str, size: int, offset: tuple[int, int]) -> None:
    """Write ``text`` at a point of the plane."""
    place = {"xytext": offset, "textcoords": "offset points"}
    aligned = {} if offset != (0, 0) else {"ha": "center", "va": "center", "weight": "bold"}
    axes.annotate(text, where, fontsize=size, color=color, **place, **aligned)  # type: ignore[arg-type]
