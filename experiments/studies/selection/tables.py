"""Tables of the study of selection: means and extremes of the seeds, and differences to random rows."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from statistics import mean
from typing import Any

from experiments.studies.selection.authors import LEVEL

Trial = Mapping[str, Any]


def print_tables(trials: Sequence[Trial]) -> None:
    """Every part of the study that was run."""
    for part, table in (("planted", _planted), ("transfer", _transfer), ("retain", _retain), ("forget", _forget)):
        if mine := [trial for trial in trials if trial["part"] == part]:
            print(f"\n{part}, seeds {sorted({trial['seed'] for trial in mine})}\n")
            table(mine)


def interval(values: Sequence[float], digits: int = 2) -> str:
    """Mean of the seeds, and their extremes in brackets."""
    if not values:
        return "-"
    low, middle, high = (f"{value:.{digits}f}" for value in (min(values), mean(values), max(values)))
    return middle if len(values) == 1 else f"{middle} [{low}, {high}]"


def _rows(header: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    print("| " + " | ".join(header) + " |")
    print("|---" * len(header) + "|")
    for row in rows:
        print("| " + " | ".join(row) + " |")


def _planted(trials: Sequence[Trial]) -> None:
    header = ("seed", "rows in their cluster", "clusters with their votes")
    _rows(header, ([str(trial[name]) for name in ("seed", "rows", "votes")] for trial in trials))


def _transfer(trials: Sequence[Trial]) -> None:
    shares = list(dict.fromkeys(trial["share"] for trial in trials))
    by = {(t["arm"], t["share"], t["seed"]): t for t in trials}

    def cells(arm: str) -> list[str]:
        found = []
        for share in shares:
            mine = [t for t in trials if (t["arm"], t["share"]) == (arm, share)]
            rivals = [by.get(("random rows", share, t["seed"])) for t in mine]
            text = interval([t["accuracy"] for t in mine], 1)
            if mine and share and all(rivals) and arm != "random rows":
                ahead = [t["accuracy"] - r["accuracy"] for t, r in zip(mine, rivals, strict=True) if r]
                text += f" ({interval(ahead, 1)})"
            found.append(text)
        return found

    arms = list(dict.fromkeys(trial["arm"] for trial in trials))
    _rows(("arm", *(share or "no choice" for share in shares)), ([arm, *cells(arm)] for arm in arms))


def at_level(points: Sequence[Mapping[str, float]], level: float) -> dict[str, float] | None:
    """The course where the forget probability first falls to ``level`` of its start, linear between two points."""
    goal = level * points[0]["forget"]
    for before, after in pairwise(points):
        if after["forget"] <= goal:
            share = (before["forget"] - goal) / (before["forget"] - after["forget"])
            return {name: value + share * (after[name] - value) for name, value in before.items()}
    return None


def _retain(trials: Sequence[Trial]) -> None:
    names = ("step", "retain", "neighbors", "facts")

    def cells(arm: str) -> list[str]:
        mine = [t for t in trials if t["arm"] == arm]
        found = [at_level(t["points"], LEVEL) for t in mine]
        reached = [point for point in found if point is not None]
        report = [r for t in mine for name, r in t["reports"].items() if name == "retain"]
        cover = interval([100 * r["coverage"] for r in report if "coverage" in r], 0)
        return [
            f"{len(reached)}/{len(mine)}",
            *(interval([p[name] for p in reached], 0 if name == "step" else 2) for name in names),
            cover,
        ]

    arms = list(dict.fromkeys(trial["arm"] for trial in trials))
    header = ("retain rows", "reached", *names, "clusters covered, %")
    _rows(header, ([arm, *cells(arm)] for arm in arms))
    start = [t["points"][0] for t in trials if t["arm"] == arms[0]]
    print(f"\nbefore: { {name: interval([p[name] for p in start]) for name in ('forget', *names[1:])} }")


def _forget(trials: Sequence[Trial]) -> None:
    shares = list(dict.fromkeys(trial["share"] for trial in trials))
    arms = list(dict.fromkeys(trial["arm"] for trial in trials))
    for name in ("forget", "retain", "facts"):
        print(f"\n{name}, after {trials[0]['points'][-1]['step']} steps\n")
        by = {
            (arm, share): interval([t["points"][-1][name] for t in trials if (t["arm"], t["share"]) == (arm, share)])
            for arm in arms
            for share in shares
        }
        header = ("forget rows", *(f"{float(share):.0%}" for share in shares))
        _rows(header, ([arm, *(by[arm, share] for share in shares)] for arm in arms))
