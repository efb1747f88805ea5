"""What the study of relearning computes from its trials: the choice of settings, a table and a picture."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from statistics import mean
from typing import Any

from experiments.studies.relearning.run import FORGET, Setting

Trial = Mapping[str, Any]
Arm = tuple[str, str, str]
"""Method, training, learning rate."""
RETAIN: Arm = ("retain model", "-", "-")
COLUMNS = (
    "method", "training", "lr", "weight", "beta", "utility", "P(forget) before", "after", "area", "minus retain model",
    "minus plain at this lr", "steps to half",
)  # fmt: skip


def chosen(trials: Sequence[Trial], tuning: Sequence[int], settings: Sequence[Setting]) -> Setting:
    """The setting with the highest mean utility among those that forget as much as the retain model.

    Where none does, the one that forgets most.

    Args:
        trials: that were not attacked, the retain model's among them.
        tuning: seeds to choose on.
        settings: to choose from.
    """
    seen = [trial for trial in trials if trial["seed"] in tuning and not trial["attacked"]]

    def average(setting: Setting | None, name: str) -> float:
        plain = None if setting is None else asdict(setting)
        value = mean(trial[name] for trial in seen if trial["setting"] == plain)
        # A model whose outputs are not finite is no choice.
        return value if math.isfinite(value) else (math.inf if name == FORGET else -math.inf)

    level = average(None, FORGET)
    enough = [setting for setting in settings if average(setting, FORGET) <= level]
    if enough:
        return max(enough, key=lambda setting: average(setting, "utility"))
    return min(settings, key=lambda setting: average(setting, FORGET))


def training(trial: Trial) -> str:
    """How the weights were trained: plain, with SAM, or averaged."""
    setting = trial["setting"]
    if setting["rho"] is not None:
        return f"SAM, rho {setting['rho']:g}"
    return "plain" if setting["averaging"] is None else "averaged"


def groups(trials: Sequence[Trial]) -> dict[Arm, list[Trial]]:
    """Attacked trials by arm; the retain model is an arm, too."""
    found: dict[Arm, list[Trial]] = {}
    for trial in trials:
        setting = trial["setting"]
        arm = RETAIN if setting is None else (setting["method"], training(trial), f"{setting['rate']:g}")
        found.setdefault(arm, []).append(trial)
    return found


def print_table(trials: Sequence[Trial]) -> None:
    """Print a row per arm, the smallest area first; brackets hold the seeds' extremes.

    Args:
        trials: of the attacked models.
    """
    found = groups(trials)
    print(f"| {' | '.join(COLUMNS)} |\n{'|---' * len(COLUMNS)}|")
    for arm in sorted(found, key=lambda arm: mean(trial["area"] for trial in found[arm])):
        print(f"| {' | '.join(cells(arm, found))} |")


def cells(arm: Arm, found: Mapping[Arm, Sequence[Trial]]) -> list[str]:
    """One row of the table."""
    method, trained, rate = arm
    mine, plain = found[arm], found.get((method, "plain", rate))
    setting = mine[0]["setting"] or {}
    numbers = [setting.get(column) for column in ("forget_weight", "beta")]
    areas = [trial["area"] for trial in mine]
    return [
        *arm,
        *("-" if number is None else f"{number:g}" for number in numbers),
        f"{mean(trial['utility'] for trial in mine):.2f}",
        f"{mean(trial['curve'][0] for trial in mine):.2f}",
        f"{mean(trial['curve'][-1] for trial in mine):.2f}",
        f"{mean(areas):.2f}",
        difference(mine, found[RETAIN]),
        "-" if plain is None or trained == "plain" else difference(mine, plain),
        halves(mine),
    ]


def difference(mine: Sequence[Trial], others: Sequence[Trial]) -> str:
    """Mean difference of the areas, seed by seed, and its extremes."""
    other = {trial["seed"]: trial["area"] for trial in others}
    gaps = [trial["area"] - other[trial["seed"]] for trial in mine]
    return f"{mean(gaps):+.2f} [{min(gaps):+.2f}, {max(gaps):+.2f}]"


def halves(mine: Sequence[Trial]) -> str:
    """Steps until half of the target's probability is back, mean over the seeds in which it comes back."""
    reached = [trial["half"] for trial in mine if math.isfinite(trial["half"])]
    if not reached:
        return "never"
    return f"{mean(reached):.0f}" + ("" if len(reached) == len(mine) else f" ({len(reached)} of {len(mine)} seeds)")


def draw(trials: Sequence[Trial], path: str | Path) -> None:
    """Draw a panel per method: mean curves, shaded between the extremes of the seeds, and the retain model's.

    Args:
        trials: of the attacked models.
        path: PNG file to write.
    """
    from unlearn_pl.report import plot_relearning

    found = groups(trials)
    curves, bands = {}, {}
    for arm, mine in found.items():
        columns = list(zip(*(trial["curve"] for trial in mine), strict=True))
        curves[label(arm)] = [(step, mean(values)) for step, values in zip(mine[0]["step"], columns, strict=True)]
        bands[label(arm)] = [(min(values), max(values)) for values in columns]
    panels: dict[str, list[str]] = {}
    for arm in sorted(found, key=lambda arm: arm[1:]):
        panels.setdefault(arm[0], []).append(label(arm))
    panels = {method: [*names, label(RETAIN)] for method, names in panels.items() if method != RETAIN[0]}
    plot_relearning(curves, path, bands, panels)


def label(arm: Arm) -> str:
    """What the legend calls an arm."""
    return arm[0] if arm == RETAIN else f"{arm[0]}, {arm[1]}, lr {arm[2]}"
