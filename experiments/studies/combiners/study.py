"""Does a combiner of gradients beat every fixed weighting of the losses?

Tiny models that know fictitious authors unlearn half of them, with the objectives of MOLLM (three) and with NPO and
the retain loss (two). Every arm, be it a fixed weight or a rule, gets the same steps and the same learning rates. The
rate is chosen on tuning seeds by the mean of forget score times utility; all figures are of other seeds.

    python -m experiments.studies.combiners.study                            # all: tune, run, tables and picture
    python -m experiments.studies.combiners.study --problems npo --seeds 5   # one problem, fewer seeds
    python -m experiments.studies.combiners.study --report_only true         # tables and picture of what was run before

Every run is kept in `trials.jsonl`; what is there already is not run again.
"""

import json
import math
import time
from collections.abc import Iterator
from pathlib import Path

from jsonargparse import auto_cli

from experiments.studies.combiners.analysis import Trial, best_rate, forget_score
from experiments.studies.combiners.arms import PROBLEMS, arms
from experiments.studies.combiners.report import plot, print_tables
from experiments.studies.combiners.run import Descent, World

RATES = (1e-3, 2e-3, 4e-3, 8e-3, 1.6e-2, 3.2e-2)


def study(
    folder: str = "runs/combiner_study",
    problems: str = "mollm,npo",
    tuning_seeds: int = 3,
    seeds: int = 8,
    figure: str = "experiments/figures/combiners.png",
    report_only: bool = False,
) -> None:
    """Run what is missing, then print the tables and draw the picture.

    Args:
        folder: where models and trials are kept.
        problems: names, separated by commas.
        tuning_seeds: number of seeds on which the learning rates are chosen: 0, 1, ...
        seeds: number of further seeds, of which the figures are.
        figure: PNG file to write.
        report_only: run nothing.
    """
    names = problems.split(",")
    runner = Runner(Path(folder))
    tuning, final = range(tuning_seeds), range(tuning_seeds, tuning_seeds + seeds)
    if not report_only:
        for name in names:
            runner.run(name, (job for seed in tuning for job in grid(name, seed)), watch=False)
        for name in names:
            tried = [t for t in runner.trials if t["problem"] == name]
            chosen = [(arm, best_rate(tried, arm, tuning)) for arm in arms(PROBLEMS[name])]
            runner.run(name, ((arm, rate, seed) for seed in final for arm, rate in chosen), watch=True)
    for name in names:
        print_tables(name, [t for t in runner.trials if t["problem"] == name], tuning, final)
    plot(runner.trials, names, tuning, final, figure)


def grid(problem: str, seed: int) -> Iterator[tuple[str, float, int]]:
    """Every arm at every learning rate."""
    return ((arm, rate, seed) for arm in arms(PROBLEMS[problem]) for rate in RATES)


class Runner:
    """Runs trials and keeps each as a line of ``trials.jsonl``.

    Args:
        folder: where models and trials are kept.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.path = folder / "trials.jsonl"
        self.trials: list[Trial] = []
        self._worlds: dict[int, World] = {}
        if self.path.exists():
            self.trials = [json.loads(line) for line in self.path.read_text().splitlines()]

    def run(self, problem: str, jobs: Iterator[tuple[str, float, int]], watch: bool) -> None:
        """Run those of ``(arm, rate, seed)`` that were not run before; ``watch`` whether their steps descend."""
        done = {(t["arm"], t["rate"], t["seed"]) for t in self.trials if t["problem"] == problem}
        for arm, rate, seed in jobs:
            if (arm, rate, seed) not in done:
                figures = self._figures(problem, arm, rate, seed, Descent() if watch else None)
                trial = {"problem": problem, "arm": arm, "rate": rate, "seed": seed, **figures}
                self.trials.append(trial)
                self.path.parent.mkdir(parents=True, exist_ok=True)
                with self.path.open("a") as file:
                    file.write(json.dumps(trial) + "\n")

    def _figures(self, problem: str, arm: str, rate: float, seed: int, descent: Descent | None) -> dict[str, object]:
        if seed not in self._worlds:
            self._worlds[seed] = World(self.folder / f"seed{seed}", seed)
            print(f"seed {seed}, target: {self._worlds[seed].target_metrics}", flush=True)
        world, start = self._worlds[seed], time.monotonic()
        target = world.target_metrics
        metrics = world.unlearn(PROBLEMS[problem].method, arms(PROBLEMS[problem])[arm](), rate, descent)
        score = forget_score(metrics["log10_forget_quality"], target["log10_forget_quality"])
        utility = min(1.0, metrics["utility"] / target["utility"])
        return {
            # A model whose outputs are not finite has lost everything.
            "forget_score": 0.0 if math.isnan(score) else score,
            "utility": 0.0 if math.isnan(utility) else utility,
            "log10_forget_quality": metrics["log10_forget_quality"],
            "forget_probability": metrics["forget_probability"],
            "retain_probability": metrics["retain_probability"],
            "descent": {} if descent is None else descent.shares(),
            "seconds": time.monotonic() - start,
        }


if __name__ == "__main__":
    auto_cli(study, as_positional=False)
