"""The picture of the study: how far the forget chains are pushed away, against what the retain chain pays."""

from collections.abc import Sequence
from pathlib import Path
from statistics import mean
from typing import TYPE_CHECKING

from experiments.studies.markov_chains.arms import FIXED, METHODS, WEIGHTS
from experiments.studies.markov_chains.experiment import EXPERIMENTS
from experiments.studies.markov_chains.trial import FORGET, Point, Trial

if TYPE_CHECKING:
    from matplotlib.axes import Axes

RETAIN_SUFFIX = " + retain"


def plot(trials: Sequence[Trial], path: str | Path) -> None:
    """Draw distances from the forget chains against that from the retain chain, along the paths of all arms.

    A row per experiment: forget losses alone, with the retain loss, and the weights of MOLLM's losses (the nearer one
    of the two forget chains). Lines are means over all runs, step by step.

    Args:
        trials: of all experiments.
        path: PNG file to write.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    names = [name for name in EXPERIMENTS if any(trial.experiment == name for trial in trials)]
    figure = Figure(figsize=(17, 4.8 * len(names)), layout="constrained")
    FigureCanvasAgg(figure)
    for row, name in enumerate(names):
        mine = [trial for trial in trials if trial.experiment == name]
        panels = [
            ("forget loss alone", _draw_methods, [arm for arm in METHODS if not arm.endswith(RETAIN_SUFFIX)]),
            ("with the retain loss", _draw_methods, [arm for arm in METHODS if arm.endswith(RETAIN_SUFFIX)]),
            ("UCE on both chains, retain loss", _draw_weights, list(WEIGHTS)),
        ]
        for column, (title, draw, arms) in enumerate(panels, start=1):
            if paths := {arm: _mean_path(found) for arm in arms if (found := [t for t in mine if t.arm == arm])}:
                axes = figure.add_subplot(len(names), len(panels), len(panels) * row + column)
                draw(axes, paths)
                _finish(axes, f"{name}: {title}", mine)
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=80)


def _draw_methods(axes: "Axes", paths: dict[str, list[Point]]) -> None:
    for number, (arm, path) in enumerate(paths.items()):
        for chain, style in zip(FORGET, ("-", "--"), strict=True):
            axes.plot(_of(path, "retain"), _of(path, chain), style, color=f"C{number}", label=f"{arm}, {chain}")


def _draw_weights(axes: "Axes", paths: dict[str, list[Point]]) -> None:
    from matplotlib import colormaps

    fixed = [arm for arm in paths if arm.startswith(FIXED)]
    for number, (arm, path) in enumerate(paths.items()):
        shade = 0.3 + 0.6 * fixed.index(arm) / len(fixed) if arm in fixed else 0.0
        color = colormaps["Grays"](shade) if arm in fixed else f"C{number}"
        nearer = [min(point[chain] for chain in FORGET) for point in path]
        axes.plot(_of(path, "retain"), nearer, color=color, linewidth=1.2 if arm in fixed else 2.5, label=arm)


def _finish(axes: "Axes", title: str, trials: Sequence[Trial]) -> None:
    retrained = {chain: mean(trial.retrained[chain] for trial in trials) for chain in trials[0].retrained}
    for chain, style in zip(FORGET, ("-", "--"), strict=True):
        axes.axhline(retrained[chain], color="0.6", linewidth=0.8, linestyle=style)
    level = min(retrained[chain] for chain in FORGET)
    axes.plot(retrained["retain"], level, "*", color="black", markersize=12, label="retrained")
    axes.set(title=title, xscale="log", ylim=(0, 2.5))
    axes.set(xlabel="distance from the retain chain (keep it low)", ylabel="distance from the forget chains")
    axes.grid(alpha=0.3)
    axes.legend(fontsize=7)


def _mean_path(trials: Sequence[Trial]) -> list[Point]:
    steps = zip(*(trial.path for trial in trials), strict=True)
    return [{key: mean(point[key] for point in points) for key in points[0]} for points in steps]


def _of(path: Sequence[Point], chain: str) -> list[float]:
    return [point[chain] for point in path]
