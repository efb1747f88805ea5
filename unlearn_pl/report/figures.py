"""Figures of unlearning runs: forgetting against utility, weights of the combiner, relearning."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from unlearn_pl.callbacks import TOFUEvaluation
from unlearn_pl.printable import figure_text
from unlearn_pl.report.front import Front
from unlearn_pl.report.history import Series
from unlearn_pl.results.atomic_file import atomic_file

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FORGET = f"val/{TOFUEvaluation.benchmark}/forget_probability"
LEGEND = 20
"""Most settings of a sweep that a legend names."""
RETAIN = f"val/{TOFUEvaluation.benchmark}/retain_probability"


def plot_forgetting(
    runs: Mapping[str, Mapping[str, Series]],
    points: Mapping[str, tuple[float, float]],
    path: str | Path,
    forget: str = FORGET,
    retain: str = RETAIN,
) -> None:
    """Forget probability against retain probability, a curve per run over its optimizer steps.

    Args:
        runs: name to history (see :func:`~unlearn_pl.report.read_history`).
        points: name to (forget probability, retain probability) of models that are not trained further.
        path: PNG file to write.
        forget: logged key of the forget probability; TOFU's by default.
        retain: logged key of the retain probability.
    """
    figure, axes = figure_of(1)
    for name, history in runs.items():
        forgetting, retaining = dict(history.get(forget, [])), dict(history.get(retain, []))
        steps = sorted(forgetting.keys() & retaining.keys())
        xs, ys = [retaining[step] for step in steps], [forgetting[step] for step in steps]
        axes[0].plot(xs, ys, marker="o", markersize=3, label=figure_text(name))
    for (name, (forget_probability, retain_probability)), marker in zip(points.items(), "*XDPs", strict=False):
        axes[0].scatter(
            [retain_probability],
            [forget_probability],
            marker=marker,
            s=110,
            color="black",
            label=figure_text(name),
            zorder=3,
        )
    axes[0].set(xlabel="retain probability (keep it high)", ylabel="forget probability (bring it down)")
    axes[0].legend()
    save_figure(figure, path)


def plot_combination(history: Mapping[str, Series], path: str | Path) -> None:
    """Share of each objective in the step, and cosines between the gradients, over the optimizer steps.

    The share of objective k is ``w_k |g_k| / sum_j w_j |g_j|``. Weights alone say little, since they also compensate
    for the different lengths of the gradients.

    Args:
        history: of one run that logged gradient norms.
        path: PNG file to write.
    """
    figure, (shares, cosines) = figure_of(2)
    names = [key.removeprefix("train/grad_norm/") for key in history if key.startswith("train/grad_norm/")]
    lengths = {
        name: {s: w * n for (s, w), (_, n) in _pairs(history, f"train/weight/{name}", f"train/grad_norm/{name}")}
        for name in names
    }
    for name in names:
        total = {s: sum(lengths[other].get(s, 0.0) for other in names) for s in lengths[name]}
        steps = [s for s in lengths[name] if total[s] > 0]
        shares.plot(steps, [lengths[name][s] / total[s] for s in steps], label=figure_text(name))
    for key in [key for key in history if key.startswith("train/cosine/")]:
        cosines.plot(*zip(*history[key], strict=True), label=figure_text(key.removeprefix("train/cosine/")))
    shares.set(xlabel="optimizer step", ylabel="share of the step", ylim=(-0.02, 1.02))
    cosines.set(xlabel="optimizer step", ylabel="cosine of gradients", ylim=(-1.02, 1.02))
    for axis in (shares, cosines):
        axis.legend()
    save_figure(figure, path)


def plot_relearning(
    curves: Mapping[str, Sequence[tuple[float, float]]],
    path: str | Path,
    bands: Mapping[str, Sequence[tuple[float, float]]] | None = None,
    panels: Mapping[str, Sequence[str]] | None = None,
) -> None:
    """Forget probability against the optimizer steps of a relearning attack, a curve per model.

    Args:
        curves: name to ``(step, forget probability)``; dashed if the name begins with ``retain``.
        path: PNG file to write.
        bands: name to lowest and highest value at each step, drawn as a shaded area.
        panels: title to the names of its curves; None for one panel with all.
    """
    titles = {"": list(curves)} if panels is None else panels
    figure, axes = figure_of(len(titles))
    values_drawn = [value for points in (*curves.values(), *(bands or {}).values()) for _, value in points]
    highest = max(filter(math.isfinite, values_drawn), default=0.0) or 1.0  # a model may have been trained to NaN
    for axis, (title, names) in zip(axes, titles.items(), strict=True):
        for name in names:
            steps, values = zip(*curves[name], strict=True)
            (line,) = axis.plot(steps, values, "--" if name.startswith("retain") else "-", label=figure_text(name))
            if bands and name in bands:
                low, high = zip(*bands[name], strict=True)
                axis.fill_between(steps, low, high, alpha=0.15, color=line.get_color(), linewidth=0)
        axis.set(
            xlabel="optimizer step of relearning",
            ylabel="forget probability, rows not shown",
            title=figure_text(title),
            ylim=(0, 1.08 * highest),
        )
        axis.legend(fontsize="x-small", loc="upper left")
    save_figure(figure, path)


def plot_front(front: Front, path: str | Path) -> None:
    """The first two axes of a sweep's front: a point per setting with its intervals, and a line through the front.

    Args:
        front: with two axes or more.
        path: PNG file to write.
    """
    figure, (axis,) = figure_of(1)
    horizontal, vertical = list(front.axes)[:2]
    for setting, row in front.means.items():
        if not {horizontal, vertical} <= row.keys():
            continue
        x, y = row[horizontal], row[vertical]
        axis.errorbar(
            x.value, y.value, xerr=x.half_width, yerr=y.half_width, marker="o", capsize=2, label=figure_text(setting)
        )
    best = [(front.means[name][horizontal].value, front.means[name][vertical].value) for name in front.best]
    if best:
        axis.plot(*zip(*sorted(best), strict=True), color="black", linewidth=0.8, zorder=0)
    axis.set(
        xlabel=figure_text(f"{horizontal} ({front.axes[horizontal]} is better)"),
        ylabel=figure_text(f"{vertical} ({front.axes[vertical]} is better)"),
    )
    if len(front.means) <= LEGEND:
        axis.legend(fontsize="x-small")
    save_figure(figure, path)


def _pairs(history: Mapping[str, Series], left: str, right: str) -> list[tuple[tuple[int, float], tuple[int, float]]]:
    return list(zip(history.get(left, []), history.get(right, []), strict=True))


def figure_of(columns: int) -> tuple["Figure", list["Axes"]]:
    """A figure without a window, and the axes of its ``columns`` panels side by side."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6 * columns, 4.5), layout="constrained")
    FigureCanvasAgg(figure)
    axes = [figure.add_subplot(1, columns, i + 1) for i in range(columns)]
    for axis in axes:
        axis.grid(alpha=0.3)
    return figure, axes


def save_figure(figure: "Figure", path: str | Path) -> None:
    """Write ``figure`` to ``path`` as a whole or not at all; the suffix is the format, PNG without one."""
    path = Path(path) if Path(path).suffix else Path(f"{path}.png")
    with atomic_file(path) as unfinished:
        figure.savefig(unfinished, dpi=130, format=path.suffix[1:])
