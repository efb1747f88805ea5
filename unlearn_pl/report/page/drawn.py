"""The charts of a page, from its data."""

from collections.abc import Mapping, Sequence
from typing import Any

from unlearn_pl.report.page.charts import Chart
from unlearn_pl.report.page.verdict import label

STEP = "optimizer step"
ROLES = {"before": " (before unlearning)", "retain": " (retain model: the target)", "run": ""}
QUANTITIES = {
    "progress": (
        "Probability of the right answers",
        "probability",
        None,
        "Dotted: the goal of the objective of that color.",
    ),
    "distance": ("Distance from the goals", "distance", None, "1 at the start, 0 at the goal."),
    "share": ("Share of each objective in the step", "share", (-0.02, 1.02), "Weight times norm, over the sum."),
    "cosine": ("Agreement of gradients", "cosine", (-1.05, 1.05), "Below 0, two objectives pull against each other."),
    "weight": ("Weights of the combination", "weight", None, "They also make up for different lengths of gradients."),
    "norm": ("Gradient norms", "norm", None, "Before clipping."),
    "loss": ("Losses", "loss", None, "Of different objectives, they are not comparable with each other."),
}
"""Quantity of the curves to title, unit, limits and note of its chart, in the order of the page."""

COMPARED = "What rises faster than in the retain model was hidden, and not gone."
ALONE = "Any model learns anew: only a retain model under the same attack (--retain_model) tells hidden from gone."


def overview(data: Mapping[str, Any]) -> list[Chart]:
    """Forgetting against utility, with the retain model as the target; none if a metric is missing.

    Args:
        data: of a page.
    """
    forgotten, kept = data["headline"]["forgotten"], data["headline"]["kept"]
    values = {metric["name"]: metric["values"] for metric in data["metrics"]}
    if forgotten not in values or kept not in values:
        return []
    lines, points, colors = {}, {}, dict[str, int]()
    for number, run in enumerate(data["runs"]):
        curves = [dict(map(tuple, run["validation"].get(name, []))) for name in (kept, forgotten)]
        steps = sorted(curves[0].keys() & curves[1].keys())
        if steps:
            name = f"{run['name']}, while training"
            lines[name], colors[name] = [[curves[0][step], curves[1][step]] for step in steps], number
        colors[run["name"]] = number
    for model in data["models"]:
        own = [values[name].get(model["name"], [None])[0] for name in (kept, forgotten)]
        if None not in own:
            points[f"{model['name']}{ROLES[model['role']]}"] = own
    if len(points) + len(lines) < 2:
        return []
    title = f"{label(forgotten)} against {label(kept)}".capitalize()
    directions = {metric["name"]: metric["direction"] for metric in data["metrics"]}
    if directions[forgotten] in ("higher", "lower"):
        note = f"Better: {label(forgotten)} {directions[forgotten]}, and {label(kept)} {directions[kept] or 'kept'}."
    elif any(model["role"] == "retain" for model in data["models"]):
        note = "The target is the retain model: as much left of the forget set as in a model that never saw it."
    else:
        note = "The target, a model that never saw the forget set, was not evaluated."
    return [Chart("forgetting", title, label(kept), label(forgotten), lines, points, colors, note=note)]


def run_charts(run: Mapping[str, Any], number: int) -> list[Chart]:
    """Charts of one run, as far as it has curves.

    Args:
        run: of the data of a page.
        number: of the run in the page, for distinct names.
    """
    charts = []
    for quantity, (title, unit, limits, note) in QUANTITIES.items():
        if lines := run["curves"].get(quantity):
            bounds = _bounds(quantity, run["goals"], lines)
            told = note if bounds or quantity != "progress" else ""
            name = f"run{number}_{quantity}"
            charts.append(Chart(name, title, STEP, unit, lines, bounds=bounds, limits=limits, note=told))
    if run["validation"]:
        lines = {label(name): points for name, points in run["validation"].items()}
        charts.append(Chart(f"run{number}_validation", "Evaluations during training", STEP, "value", lines))
    if curves := run["relearning"]:
        note = COMPARED if any(name.endswith(", retain") for name in curves) else ALONE
        name, unit = f"run{number}_relearning", "probability"
        charts.append(Chart(name, "Relearning", "attack step", unit, curves, note=note))
    return charts


def _bounds(quantity: str, goals: Sequence[Mapping[str, Any]], lines: Mapping[str, object]) -> dict[str, float]:
    """Levels to draw: the goals among probabilities, and the zero of distances and cosines."""
    if quantity != "progress":
        return {"": 0.0} if quantity in ("distance", "cosine") else {}
    return {g["objective"]: g["bound"] for g in goals if g["bound"] is not None and g["objective"] in lines}
