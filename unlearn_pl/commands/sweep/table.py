"""The front of a sweep as a table, a file and a picture."""

from dataclasses import asdict
from pathlib import Path

from unlearn_pl.printable import printable
from unlearn_pl.report.figures import plot_front
from unlearn_pl.report.front import Front, Mean
from unlearn_pl.results import write_sealed_json


def front_table(front: Front) -> str:
    """A line per setting: those of the front first, with a star; means over seeds with the half width of 95 %."""
    settings = [*front.best, *(setting for setting in front.means if setting not in front.best)]
    columns = list(dict.fromkeys(metric for row in front.means.values() for metric in row))
    heads = [f"{metric} ({front.axes[metric]})" if metric in front.axes else metric for metric in columns]
    rows = [["", "setting", *heads]]
    for setting in settings:
        cells = [_cell(front.means[setting].get(metric)) for metric in columns]
        rows.append(["*" if setting in front.best else "", setting, *cells])
    shown = [[printable(cell) for cell in row] for row in rows]
    widths = [max(len(row[column]) for row in shown) for column in range(len(rows[0]))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in shown]
    return "\n".join([*lines, "", "* no other setting is as good on every axis and better on one"])


def write_front(front: Front, output: Path) -> None:
    """Write ``sweep.json``, and ``front.png`` if there are two axes or more, of which it shows the first two."""
    means = {setting: {name: asdict(mean) for name, mean in row.items()} for setting, row in front.means.items()}
    write_sealed_json(output / "sweep.json", {"axes": front.axes, "means": means, "front": list(front.best)})
    if len(front.axes) > 1:
        plot_front(front, output / "front.png")


def _cell(mean: Mean | None) -> str:
    if mean is None:
        return "-"
    return f"{mean.value:.4g}" if mean.half_width is None else f"{mean.value:.4g} +- {mean.half_width:.2g}"
