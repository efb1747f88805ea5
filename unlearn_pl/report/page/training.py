"""Training of a run as plain data: curves, conflicts between gradients, cost and goals."""

import math
from collections.abc import Mapping, Sequence

import torch

from unlearn_pl.functional.moving_average import MovingAverage
from unlearn_pl.printable import printable
from unlearn_pl.report.history import Series
from unlearn_pl.report.page.folder import RunFolder
from unlearn_pl.report.page.plain import number, thinned

CURVES = {"loss": "loss", "progress": "progress", "weight": "weight", "grad_norm": "norm", "cosine": "cosine"}
"""Part of a logged key to the name of its curves."""
DECAY = 0.5
"""Of the running mean that :class:`~unlearn_pl.goals.goals.Goals` judges by."""


def curves(history: Mapping[str, Series]) -> dict[str, dict[str, list[list[float | None]]]]:
    """Quantity to objective (or pair of objectives) to thinned points.

    Quantities are those of ``CURVES``, ``share`` (of an objective in the step: its weight times its norm, relative to
    the sum) and ``distance`` (from the goal).

    Args:
        history: of one run.
    """
    found: dict[str, dict[str, list[list[float | None]]]] = {}
    for part, name in {**CURVES, "distance": "distance"}.items():
        prefix = f"train/{part}/"
        lines = {key.removeprefix(prefix): thinned(s) for key, s in history.items() if key.startswith(prefix)}
        if lines:
            found[name] = lines
    shares = _shares(history)
    return {**found, "share": {name: thinned(series) for name, series in shares.items()}} if shares else found


def _shares(history: Mapping[str, Series]) -> dict[str, Series]:
    prefix = "train/grad_norm/"
    names = [key.removeprefix(prefix) for key in history if key.startswith(prefix)]
    lengths: dict[str, dict[int, float]] = {}
    for name in names:
        norms = dict(history[f"{prefix}{name}"])
        lengths[name] = {s: abs(w) * norms[s] for s, w in history.get(f"train/weight/{name}", []) if s in norms}
    total: dict[int, float] = {}
    for table in lengths.values():
        for step, length in table.items():
            total[step] = total.get(step, 0.0) + (length if math.isfinite(length) else 0.0)
    return {n: [(s, length / total[s]) for s, length in t.items() if total[s] > 0] for n, t in lengths.items() if t}


def conflicts(history: Mapping[str, Series]) -> list[dict[str, object]]:
    """Of every pair of objectives: the logged steps at which their gradients disagreed, and the mean cosine.

    Args:
        history: of one run.
    """
    found = []
    for key, series in history.items():
        cosines = [value for _, value in series if math.isfinite(value)] if key.startswith("train/cosine/") else []
        if cosines:
            against = sum(value < 0 for value in cosines)
            mean = sum(cosines) / len(cosines)
            pair = key.removeprefix("train/cosine/")
            found.append({"pair": pair, "steps": len(cosines), "against": against, "mean": mean})
    return found


def goals(run: RunFolder) -> list[dict[str, object]]:
    """Of every goal: the objective, what was asked, the bound as a number, the last value, and whether it is met.

    The value is the running mean over the steps that the run itself judges by. ``met`` is None where the log of the run
    does not say what the goal is as a number; the first step tells a share of the start roughly at best.

    Args:
        run: with the settings and the history of training.
    """
    arguments = run.settings.get("init_args")
    given = arguments.get("goals") if isinstance(arguments, Mapping) else None
    found: list[dict[str, object]] = []
    for name, goal in given.items() if isinstance(given, Mapping) else ():
        options = goal.get("init_args", {}) if isinstance(goal, Mapping) else {}
        rule = str(goal.get("class_path", "")).rpartition(".")[2] if isinstance(goal, Mapping) else str(goal)
        bounds_loss = isinstance(options, Mapping) and options.get("loss") is not None
        reading = "train/loss/" if bounds_loss else "train/progress/"
        value = _running_mean(run.history.get(f"{reading}{name}", []))
        bound = next((v for _, v in reversed(run.history.get(f"train/goal/{name}", []))), None)
        if bound is None and isinstance(options, Mapping):
            bound = next((float(v) for v in map(options.get, ("loss", "level")) if isinstance(v, int | float)), None)
        exact = bound is not None
        if bound is None and isinstance(options, Mapping):
            bound = _rough_bound(options, run.history.get(f"train/progress/{name}", []))
        below = rule == "AtMost"
        met = None if bound is None or value is None or not exact else (value <= bound if below else value >= bound)
        asked = _asked(options) if isinstance(options, Mapping) else ""
        found.append(
            {
                "objective": str(name),
                "asked": f"at {'most' if below else 'least'}: {asked}",
                "sign": "≤" if below else "≥",
                "bound": number(bound),
                "value": number(value),
                "met": met,
                "exact": exact,
            }
        )
    return found


def _asked(options: Mapping[str, object]) -> str:
    """The arguments of a goal that are given; the others are None."""
    return ", ".join(f"{key} {value}" for key, value in options.items() if value is not None)


def _rough_bound(options: Mapping[str, object], progress: Sequence[tuple[int, float]]) -> float | None:
    """A share of the first logged progress, where it is that of the first step."""
    share = options.get("share")
    if options.get("level") in (None, "start") and isinstance(share, int | float) and progress and progress[0][0] == 1:
        return float(share) * progress[0][1]
    return None


def _running_mean(series: Series) -> float | None:
    average, last = MovingAverage(DECAY), None
    for _, value in series:
        one = torch.tensor([value], dtype=torch.float64)
        last = average.update(one, where=one.isfinite()).item()
    return last


def cost(run: RunFolder) -> list[list[object]]:
    """Label and value of what training took, as far as it is recorded.

    Args:
        run: with its history and ``cost.json``.
    """
    losses = [points for key, points in run.history.items() if key.startswith("train/loss/")]
    steps = max((step for points in losses for step, _ in points), default=None)
    rows: list[list[object]] = [["optimizer steps", run.cost.get("steps", steps)]]
    skipped = [int(points[-1][1]) for key, points in run.history.items() if key.startswith("train/skipped/")]
    if skipped:
        rows.append(["steps skipped", sum(skipped)])
    separate = [key for key in run.history if key.startswith("train/grad_norm/")]
    if losses:
        rows.append(["objectives", len(losses)])
        rows.append(["gradients per micro-batch", len(separate) or 1])
    rows.append(["backward passes", run.cost.get("backward_passes")])
    seconds = run.cost.get("seconds")
    if isinstance(seconds, int | float):
        rows.append(["seconds of training", round(float(seconds), 1)])
    memory = run.cost.get("peak_memory")
    if isinstance(memory, int | float):
        rows.append(["peak memory of a device, GiB", round(memory / 2**30, 2)])
    if isinstance(device := run.cost.get("device"), str):
        rows.append(["devices", f"{run.cost.get('devices', 1)} x {printable(device)}"])
    return [row for row in rows if row[1] is not None]
