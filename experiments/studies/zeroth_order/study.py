"""How far does unlearning come on forward passes alone, at what cost, and does its forgetting last?

A classifier of real digits forgets a class, and tiny language models forget fictitious authors: by first-order
gradients, by random directions, by coordinates that are chosen in several ways, and by first and zeroth order in turn.
Zeroth-order runs end when they have forgotten as much as the first-order one of the same seed, or at their last step.
Then each model is fine-tuned on a few of the forgotten examples, and rounded to 4 bits.

    python -m experiments.studies.zeroth_order.study                     # everything, 3 seeds: about half an hour
    python -m experiments.studies.zeroth_order.study --parts digits      # one part
    python -m experiments.studies.zeroth_order.study --table_only true   # the tables of earlier runs

Every run is kept in `trials.jsonl`; what is there already is not run again.
"""

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from experiments.studies.zeroth_order.authors import Authors
from jsonargparse import auto_cli

from experiments.studies.zeroth_order import author_arms, digit_arms
from experiments.studies.zeroth_order.digits import Digits
from experiments.studies.zeroth_order.tables import Trial, print_authors, print_digits

Runs = Iterator[tuple[str, Callable[[Trial | None], Trial]]]


def study(
    folder: str = "runs/zeroth_order_study",
    parts: str = "digits,authors",
    names: str = "",
    seeds: int = 3,
    table_only: bool = False,
) -> None:
    """Run what is missing, seed by seed, then print the tables.

    Args:
        folder: where models and trials are kept.
        parts: ``digits``, ``authors``, or both with a comma.
        names: of the arms, separated by semicolons; all by default. The first-order one has to be there.
        seeds: number of seeds, from 0 on.
        table_only: run nothing.
    """
    path = Path(folder) / "trials.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    trials: list[Trial] = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    makers = {"digits": _digit_runs, "authors": _author_runs}
    for part in [] if table_only else parts.split(","):
        for seed in range(seeds):
            for arm, run in makers[part](Path(folder), seed):
                same = {t["arm"]: t for t in trials if t["part"] == part and t["seed"] == seed}
                if arm in same or (names and arm not in names.split(";")):
                    continue
                start = time.process_time()
                trial = {"part": part, "seed": seed, "arm": arm} | run(same.get(digit_arms.FIRST_ORDER))
                trials.append(trial | {"seconds": time.process_time() - start})
                with path.open("a") as file:
                    file.write(json.dumps(trials[-1]) + "\n")
                print(f"{part}, seed {seed}, {arm}: {trials[-1]['seconds']:.0f} s", flush=True)
    print_digits([trial for trial in trials if trial["part"] == "digits"])
    print_authors([trial for trial in trials if trial["part"] == "authors"])


def _digit_runs(folder: Path, seed: int) -> Runs:
    digits = Digits(seed)

    def untouched(first: Trial | None) -> Trial:
        before = {"after": digits.accuracies(digits.target), "relearned": digits.relearned(digits.target)}
        return before | {
            "rounded": digits.rounded(digits.target),
            "passes": 0,
            "steps": 0,
            "reached": False,
            "moved": 0,
        }

    yield digit_arms.BEFORE, untouched
    for name, arm in digit_arms.ARMS.items():
        yield name, lambda first, arm=arm: digit_arms.run(digits, arm, digit_arms.goal_after(first))  # type: ignore[misc]


def _author_runs(folder: Path, seed: int) -> Runs:
    authors = Authors(folder / "authors" / f"seed{seed}", seed)
    yield author_arms.BEFORE, lambda first: authors.figures_before()
    yield author_arms.RETRAINED, lambda first: authors.figures_of_retrained()
    for name, arm in author_arms.ARMS.items():
        yield name, lambda first, arm=arm: author_arms.run(authors, arm)  # type: ignore[misc]


if __name__ == "__main__":
    auto_cli(study, as_positional=False)
