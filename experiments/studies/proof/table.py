"""The table and the picture of the study of proof."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean

import torch

from unlearn_pl.functional import bootstrap_interval
from unlearn_pl.results import read_results
from unlearn_pl.results.atomic_file import atomic_file

COLUMNS = {
    "P(forget)": ("tofu", "forget", "probability"),
    "ROUGE": ("tofu", "forget", "rouge"),
    "leak@1": ("tofu", "forget", "leak_at_1"),
    "leak@16": ("tofu", "forget", "leak_at_16"),
    "UDS": ("uds", "forget", "uds"),
    "P(retain)": ("tofu", "retain", "probability"),
    "retain leak@1": ("tofu", "retain", "leak_at_1"),
}
"""Title to file, split and score per question."""


def values_of(root: Path, arm: str, column: str) -> list[float]:
    """The scores of all questions and seeds of an arm; empty if it was not measured."""
    file, split, score = COLUMNS[column]
    paths = sorted(root.glob(f"seed*/{arm.replace(' ', '_')}/{file}.json"))
    return [value for path in paths for value in read_results(path).per_example[split].get(score, {}).values()]


def interval(values: Sequence[float]) -> tuple[float, float]:
    """Of the mean, over the questions of all seeds."""
    return bootstrap_interval(lambda drawn: drawn.mean().item(), list(values), level=0.95, resamples=1000)


def added_columns(root: Path) -> dict[str, dict[str, list[float]]]:
    """Title to arm to the numbers of all seeds, from ``columns*.jsonl``."""
    found: dict[str, dict[str, list[float]]] = {}
    for path in sorted(root.glob("columns*.jsonl")):
        for line in path.read_text().splitlines():
            row = json.loads(line)
            arm, _ = row.pop("arm"), row.pop("seed")
            for title, value in row.items():
                found.setdefault(title, {}).setdefault(arm, []).append(value)
    return found


def print_table(root: Path, arms: Sequence[str]) -> None:
    """Means over the questions of all seeds with their intervals, and means over seeds of the added columns."""
    added = added_columns(root)
    print("| model | " + " | ".join([*COLUMNS, *added]) + " |")
    print("|---|" + "---|" * (len(COLUMNS) + len(added)))
    for arm in arms:
        cells = [cell(values_of(root, arm, column)) for column in COLUMNS]
        cells += [f"{fmean(of[arm]):.3f}" if arm in of else "-" for of in added.values()]
        print(f"| {arm} | " + " | ".join(cells) + " |")


def cell(values: Sequence[float]) -> str:
    """A mean and its interval."""
    if not values:
        return "-"
    low, high = interval(values)
    return f"{fmean(values):.3f} [{low:.3f}, {high:.3f}]"


def draw(root: Path, arms: Sequence[str], path: str) -> None:
    """Unlearning depth against leak@16, with intervals, a point per arm."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 5), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    for arm in arms:
        both = [values_of(root, arm, column) for column in ("leak@16", "UDS")]
        if not all(both):
            continue
        (x, y), ends = map(fmean, both), torch.tensor([interval(values) for values in both])
        errors = (ends - torch.tensor([[x], [y]])).abs()
        axes.errorbar([x], [y], xerr=errors[0, :, None], yerr=errors[1, :, None], fmt="o", capsize=3, label=arm)
    axes.set(xlabel="leak@16 of the forget answers (retain model: best)", ylabel="unlearning depth (retain model: 1)")
    axes.grid(alpha=0.3)
    axes.legend(fontsize="small")
    with atomic_file(path) as unfinished:
        figure.savefig(unfinished, dpi=130, format="png")


def bars(table: Mapping[str, Mapping[str, Sequence[float]]], titles: Sequence[str], label: str, path: str) -> None:
    """A group of bars per model and a bar per column, with the intervals over the questions.

    Args:
        table: model to title of a column to the values of its questions.
        titles: of the columns.
        label: of the axis.
        path: PNG file to write.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 4.5), layout="constrained")
    FigureCanvasAgg(figure)
    shown = [title for title in titles if any(row.get(title) for row in table.values())]
    axes, width = figure.add_subplot(), 0.8 / max(1, len(shown))
    for place, title in enumerate(shown):
        measured = {at: row[title] for at, row in enumerate(table.values()) if row.get(title)}
        means = [fmean(of) for of in measured.values()]
        ends = [interval(of) for of in measured.values()]
        errors = [[abs(end[side] - mean) for end, mean in zip(ends, means, strict=True)] for side in (0, 1)]
        axes.bar([at + place * width for at in measured], means, width, yerr=errors, capsize=2, label=title)
    axes.set_xticks([at + 0.4 - width / 2 for at in range(len(table))], list(table), fontsize="small")
    axes.set(ylabel=label)
    axes.grid(axis="y", alpha=0.3)
    axes.legend(fontsize="small")
    with atomic_file(path) as unfinished:
        figure.savefig(unfinished, dpi=130, format="png")
