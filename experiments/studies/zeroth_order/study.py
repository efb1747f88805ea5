"""How far does unlearning come on forward passes alone, at what cost, and does its forgetting last?

A classifier of real digits forgets a class: by first-order gradients, by random directions, by coordinates that are
chosen in several ways, and by first and zeroth order in turn. Zeroth-order runs end when they have forgotten as much as
the first-order one of the same seed, or at their last step. Then each network is trained on a few of the forgotten
images again, and rounded to 4 bits.

    python -m experiments.studies.zeroth_order.study                     # everything, 3 seeds: 15 minutes
    python -m experiments.studies.zeroth_order.study --table_only true   # the table of earlier runs

Every run is kept in `trials.jsonl`; what is there already is not run again.
"""

import json
import time
from collections.abc import Callable
from pathlib import Path

from jsonargparse import auto_cli

from experiments.studies.zeroth_order.digit_arms import ARMS, BEFORE, FIRST_ORDER, goal_after, run
from experiments.studies.zeroth_order.digits import Digits
from experiments.studies.zeroth_order.tables import Trial, print_digits


def study(folder: str = "runs/zeroth_order_study", names: str = "", seeds: int = 3, table_only: bool = False) -> None:
    """Run what is missing, seed by seed, then print the table.

    Args:
        folder: where trials are kept.
        names: of the arms, separated by semicolons; all by default. The first-order one has to be there.
        seeds: number of seeds, from 0 on.
        table_only: run nothing.
    """
    path = Path(folder) / "trials.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    trials: list[Trial] = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    for seed in [] if table_only else range(seeds):
        for arm, make in runs(Digits(seed)).items():
            same = {t["arm"]: t for t in trials if t["seed"] == seed}
            if arm in same or (names and arm not in names.split(";")):
                continue
            start = time.process_time()
            trial = {"part": "digits", "seed": seed, "arm": arm} | make(same.get(FIRST_ORDER))
            trials.append(trial | {"seconds": time.process_time() - start})
            with path.open("a") as file:
                file.write(json.dumps(trials[-1]) + "\n")
            print(f"seed {seed}, {arm}: {trials[-1]['seconds']:.0f} s", flush=True)
    print_digits(trials)


def runs(digits: Digits) -> dict[str, Callable[[Trial | None], Trial]]:
    """Name of an arm to its run, which is handed the first-order trial."""
    target = digits.target
    before = {"passes": 0, "steps": 0, "reached": False, "moved": 0.0}
    made: dict[str, Callable[[Trial | None], Trial]] = {
        BEFORE: lambda first: {
            "after": digits.accuracies(target),
            "relearned": digits.relearned(target),
            "rounded": digits.rounded(target),
            **before,
        }
    }
    for name, arm in ARMS.items():
        made[name] = lambda first, arm=arm: run(digits, arm, goal_after(first))  # type: ignore[misc]
    return made


if __name__ == "__main__":
    auto_cli(study, as_positional=False)
