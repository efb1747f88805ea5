"""Comparisons as text, Markdown, CSV and JSON."""

import csv
import io
import json
from collections.abc import Callable, Iterator

from unlearn_pl.printable import markdown_text, printable, spreadsheet_text
from unlearn_pl.report.comparison import Comparison, Estimate
from unlearn_pl.results.json_file import json_safe


def comparison_text(comparison: Comparison) -> str:
    """Aligned columns for a terminal, with a line about the intervals; beside each metric, which values are better."""
    header, *rows = [[printable(cell) for cell in row] for row in _cells(comparison)]
    widths = [max(len(row[column]) for row in (header, *rows)) for column in range(len(header))]
    lines = ["  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip() for row in (header, *rows)]
    return "\n".join([printable(_caption(comparison)), "", *lines])


def comparison_markdown(comparison: Comparison) -> str:
    """A Markdown table, with a line about the intervals; names from files are text and nothing else."""
    header, *rows = [" | ".join(row) for row in _cells(comparison, markdown_text)]
    rule = "|".join(["---"] * (2 * len(comparison.runs)))
    caption = _caption(comparison, markdown_text)
    return "\n".join([f"{caption}\n", f"| {header} |", f"|{rule}|", *(f"| {row} |" for row in rows)])


def comparison_csv(comparison: Comparison) -> str:
    """A line per metric and run, with all digits; missing numbers are empty.

    A name that a spreadsheet would take for a formula begins with an apostrophe.
    """
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(
        ["metric", "run", "value", "low", "high", "difference", "difference_low", "difference_high", "better"]
    )
    for metric, values in comparison.values.items():
        for name, estimate in values.items():
            difference = comparison.differences[metric].get(name)
            better = comparison.directions.get(metric) or ""
            writer.writerow(
                [spreadsheet_text(metric), spreadsheet_text(name), *_numbers(estimate), *_numbers(difference), better]
            )
    return file.getvalue().rstrip("\n")


def comparison_json(comparison: Comparison) -> str:
    """An object with all fields; intervals are lists of two numbers, or null."""
    content = {
        "benchmark": comparison.benchmark,
        "runs": list(comparison.runs),
        "level": comparison.level,
        "resamples": comparison.resamples,
        "seed": comparison.seed,
        "values": {m: {n: e._asdict() for n, e in row.items()} for m, row in comparison.values.items()},
        "differences": {m: {n: e._asdict() for n, e in row.items()} for m, row in comparison.differences.items()},
        "notes": list(comparison.notes),
        "directions": dict(comparison.directions),
    }
    return json.dumps(json_safe(content), indent=1, allow_nan=False)


def _caption(comparison: Comparison, written: Callable[[str], str] = str) -> str:
    return (
        f"{written(comparison.benchmark)}: {comparison.level:.4g} bootstrap intervals, {comparison.resamples} draws of "
        "the questions, the same in every run. In brackets: better are higher or lower values, or those nearest to the "
        "retain model's"
    )


def _cells(comparison: Comparison, written: Callable[[str], str] = str) -> Iterator[list[str]]:
    """Rows of the table; ``written`` spells names from files."""
    names = {name: written(name) for name in comparison.runs}
    first, *others = comparison.runs
    yield ["metric", *names.values(), *(f"{names[name]} - {names[first]}" for name in others)]
    for metric, values in comparison.values.items():
        differences = comparison.differences[metric]
        better = comparison.directions.get(metric)
        shown = written(metric) if better is None else f"{written(metric)} ({better})"
        yield [shown, *(_shown(values.get(n)) for n in comparison.runs), *(_shown(differences.get(n)) for n in others)]


def _shown(estimate: Estimate | None) -> str:
    if estimate is None:
        return "-"
    interval = "" if estimate.interval is None else " [{:.4g}, {:.4g}]".format(*estimate.interval)
    return f"{estimate.value:.4g}{interval}"


def _numbers(estimate: Estimate | None) -> list[float | str]:
    if estimate is None:
        return ["", "", ""]
    return [estimate.value, *(estimate.interval or ("", ""))]
