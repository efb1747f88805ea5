"""One figure of several unlearned models: the way of each, and where it ends beside the models before and retrained."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from unlearn_pl.printable import figure_text
from unlearn_pl.report.figures import FORGET, RETAIN, figure_of, save_figure
from unlearn_pl.report.history import Series

RUN_COLORS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9")
"""Of runs, in their order: told apart by color-blind readers (Okabe and Ito)."""
BEFORE_COLOR, RETRAINED_COLOR = "#999999", "#000000"


@dataclass(frozen=True)
class Compared:
    """One model of the overview.

    Attributes:
        name: as the legend has it.
        values: label of a group of bars, of one line or more, to the value of this model, in [0, 1].
        forget: probability of the forget answers.
        retain: probability of the retain answers.
        history: what its run logged; None for a model that was not unlearned.
    """

    name: str
    values: Mapping[str, float]
    forget: float
    retain: float
    history: Mapping[str, Series] | None = None


def plot_overview(before: Compared, runs: list[Compared], retrained: Compared, path: str | Path) -> None:
    """Draw the ways of the runs on the left, and bars of all models on the right.

    Args:
        before: the model before unlearning, where every way starts.
        runs: the unlearned models; each way ends at ``retain`` and ``forget``, which are of all questions, where an
            evaluation on the way may take some.
        retrained: a model that never saw the forget answers.
        path: PNG file to write.

    Raises:
        ValueError: if there are more runs than colors.
    """
    if len(runs) > len(RUN_COLORS):
        raise ValueError(f"{len(runs)} runs were given; accepted are at most {len(RUN_COLORS)}, one per color.")
    figure, (ways, bars) = figure_of(2)
    ends = {"marker": "*", "s": 170, "color": BEFORE_COLOR}, {"marker": "X", "s": 110, "color": RETRAINED_COLOR}
    for model, look in zip((before, retrained), ends, strict=True):
        ways.scatter([model.retain], [model.forget], label=figure_text(model.name), zorder=4, **look)  # type: ignore[arg-type]
    for run, color in zip(runs, RUN_COLORS, strict=False):
        xs, ys = _way(before, run)
        ways.plot(xs, ys, marker="o", markersize=3, color=color)
        ways.plot(xs[-1:], ys[-1:], marker="o", markersize=9, color=color, zorder=5)
    ways.set(
        xlabel="probability of the answers to keep", ylabel="probability of the answers to forget", ylim=(-0.03, 1.0)
    )
    ways.set_title("The way of every run, to its large dot")
    ways.legend(loc="upper left")

    models = [(before, BEFORE_COLOR), *zip(runs, RUN_COLORS, strict=False), (retrained, RETRAINED_COLOR)]
    groups = list(before.values)
    width = 0.8 / len(models)
    for place, (model, color) in enumerate(models):
        xs = [group + width * (place - (len(models) - 1) / 2) for group in range(len(groups))]
        heights = [model.values[group] for group in groups]
        bars.bar(xs, heights, width, color=color, label=figure_text(model.name), zorder=2)
        for x, height in zip(xs, heights, strict=True):
            bars.text(x, height + 0.01, f"{height:.2f}".lstrip("0"), ha="center", va="bottom", fontsize=7)
    labels = ["\n".join(map(figure_text, group.splitlines())) for group in groups]
    bars.set_xticks(range(len(groups)), labels)
    bars.grid(visible=False, axis="x")
    bars.set(ylim=(0, 1.22), title="Where they end", ylabel="probability, utility")
    bars.set_yticks([0, 0.2, 0.4, 0.6, 0.8, 1.0])
    bars.legend(loc="upper center", ncols=3, fontsize="small")
    save_figure(figure, path)


def _way(before: Compared, run: Compared) -> tuple[list[float], list[float]]:
    """Retain and forget probabilities over the steps that logged both, from the model before to the final one."""
    history = run.history or {}
    forget, retain = dict(history.get(FORGET, [])), dict(history.get(RETAIN, []))
    steps = sorted(forget.keys() & retain.keys())
    xs = [before.retain, *(retain[step] for step in steps), run.retain]
    ys = [before.forget, *(forget[step] for step in steps), run.forget]
    return xs, ys
