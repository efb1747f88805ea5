"""Charts of runs, as pictures and as vector graphics that follow the colors of a page."""

import io
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unlearn_pl.printable import figure_text
from unlearn_pl.report.page.vector import INK, SERIES, inline_svg
from unlearn_pl.results.atomic_file import atomic_file

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Points = Sequence[Sequence[float | None]]
"""``[x, y]`` pairs; None where a value is not a number."""

STYLES = ("-", "--", "-.", ":")
AREA = (0.15, 0.15, 0.83, 0.77)
"""Place of the axes in the figure: left, bottom, width and height, as shares of it."""
MARKERS = "*XDPs"
PRINTED = ("#1b5fb4", "#b8500f", "#2e7d32", "#7b3fa0", "#a3284a", "#5a6472")
"""Colors of a PNG, which is shown on white."""


@dataclass(frozen=True)
class Chart:
    """Lines and points in one pair of axes.

    Attributes:
        name: of files and elements, in letters, digits and underscores.
        title: what it shows.
        x: label of the horizontal axis; what ends with "step" is counted in whole numbers.
        y: label of the vertical axis.
        lines: label to points, joined in their order.
        points: label to a single point, drawn as a marker.
        colors: label to the number of its color; by default, lines are numbered, and points have the color of text.
        bounds: label to a level, drawn as a horizontal line.
        limits: limits of the vertical axis; None to fit.
        note: how to read it, as sentences.
    """

    name: str
    title: str
    x: str
    y: str
    lines: Mapping[str, Points]
    points: Mapping[str, Sequence[float]] = field(default_factory=dict)
    colors: Mapping[str, int] = field(default_factory=dict)
    bounds: Mapping[str, float] = field(default_factory=dict)
    limits: tuple[float, float] | None = None
    note: str = ""

    def svg(self) -> str:
        """The chart as an ``<svg>`` element without styles and identifiers of its own, the same for the same data."""
        buffer = io.StringIO()
        with _settings({"svg.fonttype": "none", "svg.hashsalt": self.name}):
            self._figure(INK, SERIES).savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
        return inline_svg(buffer.getvalue(), self.name, f"{self.title}. {self.note}".strip())

    def write_png(self, path: str | Path) -> None:
        """Write the chart as a PNG.

        Args:
            path: the file.
        """
        with atomic_file(path) as unfinished, _settings({}):
            self._figure("#1a1a1a", PRINTED).savefig(unfinished, format="png", dpi=150, facecolor="white")

    def _figure(self, ink: str, colors: Sequence[str]) -> "Figure":
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
        from matplotlib.ticker import MaxNLocator

        figure = Figure(figsize=(5.2, 3.3))
        FigureCanvasAgg(figure)
        axes = figure.add_axes(AREA)

        numbers = {**{label: number for number, label in enumerate(self.lines)}, **self.colors}

        def color(label: str) -> str:
            return colors[numbers[label] % len(colors)] if label in numbers else ink

        for number, (label, points) in enumerate(self.lines.items()):
            xs = [_number(point[0]) for point in points]
            ys = [_number(point[1]) for point in points]
            dashes, drawn = STYLES[number // len(colors) % len(STYLES)], "o" if len(points) <= 30 else ""
            (line,) = axes.plot(xs, ys, label=figure_text(label), color=color(label))
            line.set(linewidth=1.4, linestyle=dashes, marker=drawn, markersize=2.5)
        for number, (label, (x, y)) in enumerate(self.points.items()):
            shape, paint = MARKERS[number % len(MARKERS)], color(label)
            axes.scatter([x], [y], label=figure_text(label), marker=shape, s=70, color=paint, zorder=3)
        for number, (label, level) in enumerate(self.bounds.items()):
            axes.axhline(level, color=color(label), linewidth=0.9, linestyle=(0, (2, 3 + number)))
        axes.set(xlabel=figure_text(self.x), ylabel=figure_text(self.y))
        if self.limits is not None:
            axes.set_ylim(*self.limits)
        axes.ticklabel_format(axis="y", scilimits=(-2, 5), useOffset=False)
        if self.x.endswith("step"):
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid(alpha=0.25, color=ink, linewidth=0.6)
        self._paint(axes, ink)
        return figure

    def _paint(self, axes: Any, ink: str) -> None:
        axes.tick_params(colors=ink, labelsize=9)
        axes.yaxis.get_offset_text().set(color=ink, fontsize=9)
        for spine in axes.spines.values():
            spine.set_color(ink)
        for text in (axes.xaxis.label, axes.yaxis.label):
            text.set_color(ink)
        if self.lines or self.points:
            legend = axes.legend(fontsize=8, frameon=False, labelcolor=ink)
            legend.set_zorder(0)


def _number(value: float | None) -> float:
    return math.nan if value is None else float(value)


def _settings(changes: Mapping[Any, Any]) -> Any:
    """Matplotlib's own settings, whatever a user's are, so that the same data gives the same chart."""
    from matplotlib import rc_context, rcParamsDefault

    skipped = ("backend", "backend_fallback")
    kept: dict[Any, Any] = {key: value for key, value in rcParamsDefault.items() if key not in skipped}
    return rc_context({**kept, **changes})


def pngs(charts: Sequence[Chart]) -> Iterator[tuple[str, Chart]]:
    """File name of the picture of each chart.

    Args:
        charts: with different names.
    """
    for chart in charts:
        yield f"{chart.name}.png", chart
