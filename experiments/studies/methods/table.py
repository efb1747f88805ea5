"""The table of the study of methods: means over seeds, with the half width of their 95 % intervals."""

from collections.abc import Callable, Mapping, Sequence
from statistics import fmean

from unlearn_pl.report import mean_over_seeds

Rows = Mapping[tuple[float, int], Mapping[str, float]]
"""Rate and seed to figures."""

COLUMNS = {
    "P(forget)": "forget_probability",
    "utility kept": "kept",
    "P(retain)": "retain_probability",
    "end": "end",
    "relearned": "relearned",
    "4 bits": "4 bits",
    "passes": "passes",
    "time": "time",
}


def print_table(
    trials: Mapping[str, Rows],
    attacks: Mapping[str, Rows],
    chosen: Mapping[str, float],
    end: Callable[[Mapping[str, float]], float],
) -> None:
    """A row per method at its rate, best mean end first.

    Args:
        trials: method to its trials.
        attacks: method to its attacked models.
        chosen: method to its rate.
        end: how well a trial ended.
    """
    figures = {method: _figures(trials[method], attacks.get(method, {}), rate, end) for method, rate in chosen.items()}
    base = fmean(figures["GradDiff"]["seconds"]) if "GradDiff" in figures else 1.0
    for columns in figures.values():
        columns["time"] = [seconds / base for seconds in columns["seconds"]]
    print("| method | rate | " + " | ".join(COLUMNS) + " |")
    print("|---|---|" + "---|" * len(COLUMNS))
    for method in sorted(figures, key=lambda name: -fmean(figures[name]["end"])):
        cells = [_cell(figures[method].get(key, [])) for key in COLUMNS.values()]
        print(f"| {method} | {chosen[method]:g} | " + " | ".join(cells) + " |")


def _figures(
    trials: Rows, attacks: Rows, rate: float, end: Callable[[Mapping[str, float]], float]
) -> dict[str, list[float]]:
    rows = [row for (r, _), row in trials.items() if r == rate]
    found = {
        key: [row[key] for row in rows] for key in ("forget_probability", "retain_probability", "passes", "seconds")
    }
    found["kept"] = [row["utility"] / row["target_utility"] for row in rows]
    found["end"] = [end(row) for row in rows]
    after = [row for (r, _), row in attacks.items() if r == rate]
    return found | {key: [row[key] for row in after] for key in ("relearned", "4 bits")}


def _cell(values: Sequence[float]) -> str:
    if not values:
        return "-"
    mean = mean_over_seeds(values)
    return f"{mean.value:.3f}" if mean.half_width is None else f"{mean.value:.3f} +- {mean.half_width:.3f}"
