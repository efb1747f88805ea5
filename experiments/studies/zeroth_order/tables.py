"""The table of the study, as Markdown."""

from collections.abc import Callable, Mapping, Sequence
from operator import itemgetter
from statistics import mean
from typing import Any

Trial = dict[str, Any]


def print_digits(trials: Sequence[Trial]) -> None:
    """Cost and accuracies of every arm, and what relearning and rounding give back."""
    columns: Mapping[str, Callable[[Trial], float]] = {
        "forget, train": lambda t: t["after"]["forget"],
        "forget, test": lambda t: t["after"]["test, forgotten"],
        "others, test": lambda t: t["after"]["test, others"],
        "distance": lambda t: t["moved"],
        "relearned: forget, test": lambda t: t["relearned"]["test, forgotten"],
        "4 bits: forget, test": lambda t: t["rounded"]["test, forgotten"],
        "4 bits: others, test": lambda t: t["rounded"]["test, others"],
    }
    _print(trials, {"passes": lambda t: t["passes"], "steps": lambda t: t["steps"]}, columns)


def print_language(trials: Sequence[Trial]) -> None:
    """Cost and probabilities of every arm, and what relearning and rounding give back."""
    names = {
        "P(forget)": "forget",
        "P(retain)": "retain",
        "distance": "moved",
        "relearned: P(forget)": "relearned",
        "4 bits: P(forget)": "rounded",
        "4 bits: P(retain)": "rounded_retain",
    }
    columns = {column: itemgetter(name) for column, name in names.items()}
    _print(trials, {"passes": lambda t: t["passes"], "steps": lambda t: t["steps"]}, columns, digits=3)


def _print(
    trials: Sequence[Trial],
    costs: Mapping[str, Callable[[Trial], float]],
    columns: Mapping[str, Callable[[Trial], float]],
    digits: int = 1,
) -> None:
    if not trials:
        return
    print(f"\n| arm | seeds | reached | {' | '.join([*costs, *columns])} |")
    print("|" + "---|" * (3 + len(costs) + len(columns)))
    for arm in dict.fromkeys(t["arm"] for t in trials):
        of_arm = [t for t in trials if t["arm"] == arm]
        cells = [f"{mean(cost(t) for t in of_arm):,.0f}" for cost in costs.values()]
        cells += [spread([value(t) for t in of_arm], digits) for value in columns.values()]
        print(f"| {arm} | {len(of_arm)} | {sum(t['reached'] for t in of_arm)} | {' | '.join(cells)} |")


def spread(values: Sequence[float], digits: int) -> str:
    """Mean, and lowest to highest."""
    if len(values) == 1 or max(values) - min(values) < 10**-digits / 2:
        return f"{mean(values):.{digits}f}"
    return f"{mean(values):.{digits}f} ({min(values):.{digits}f} to {max(values):.{digits}f})"
