"""How much does one untuned setting lose against the best of nine weights that are picked with hindsight?

Tiny models forget fictitious authors with four forget losses, with two and three objectives, half of the authors or
one of eight, or half of what is known about each, in 32 and 120 steps, at three learning rates. Every setting is the
same everywhere: its goals are half of the holdout level, and 90 % of the retain probability.

    python -m experiments.studies.goals.regret                                 # everything, 5 seeds: hours
    python -m experiments.studies.goals.regret --seeds 2 --problems "UCE;NPO"  # some of it
    python -m experiments.studies.goals.regret --table_only true               # the tables of earlier runs

Every run is kept in `regret.jsonl`; what is there already is not run again.
"""

import json
import time
from collections.abc import Callable, Mapping
from copy import deepcopy
from functools import partial
from pathlib import Path
from statistics import mean
from typing import Any

import lightning.pytorch as pl
import torch
from jsonargparse import auto_cli

from experiments.studies.combiners.analysis import Trial
from experiments.studies.combiners.run import World
from experiments.studies.goals import rivals
from experiments.studies.goals.problems import PROBLEMS, RATES, Problem
from experiments.studies.goals.regret_tables import WEIGHT, print_tables
from unlearn_pl.combiners import Combiner, GoalBarrier, MinNorm, Scalarization
from unlearn_pl.goals import AtLeast, AtMost, Goal
from unlearn_pl.modules import UnlearningModule

FIRST_SEED = 20
"""Earlier seeds served for writing the study."""


class Setting:
    """One way to combine, the same on every problem.

    Args:
        combiner: makes the combiner.
        beta1: AdamW's, with goals; .9 without.
        goals: whether it is asked for half of the holdout level and 90 % of the retain probability.
        callbacks: makes callbacks.
        bounded: whether it needs losses that are never negative.
    """

    def __init__(
        self,
        combiner: Callable[[], Combiner],
        *,
        goals: bool = True,
        beta1: float | None = None,
        callbacks: Callable[[], list[pl.Callback]] = list,
        bounded: bool = False,
    ) -> None:
        self.combiner, self.callbacks, self.bounded = combiner, callbacks, bounded
        self.beta1 = (0.5 if goals else 0.9) if beta1 is None else beta1
        self.goals: Mapping[str, Goal] | None = (
            {"forget": AtMost("holdout"), "retain": AtLeast(share=0.9)} if goals else None
        )

    def module(self, world: World, problem: Problem, rate: float) -> UnlearningModule:
        """The method, on a copy of the target."""
        optimizer = partial(torch.optim.AdamW, lr=rate, betas=(self.beta1, 0.999))
        options: dict[str, Any] = {} if self.goals is None else {"goals": dict(self.goals)}
        return problem.method(deepcopy(world.target), combiner=self.combiner(), optimizer=optimizer, **options)

    def run(self, world: World, problem: Problem, rate: float) -> dict[str, float]:
        """Metrics after unlearning, and the dip on the way."""
        module = self.module(world, problem, rate)
        course = RetainCourse()
        metrics = world.fit(module, problem.epochs, [course, *self.callbacks()])
        return metrics | {"dip": max(0.0, world.target_metrics["retain_probability"] - course.lowest)}


class RetainCourse(pl.Callback):
    """The lowest retain probability on the way, averaged over the batches of an epoch."""

    def __init__(self) -> None:
        self.lowest, self._epoch = 1.0, list[float]()

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Keep the average progress after the step."""
        goals = pl_module.descent.goals  # type: ignore[union-attr]
        self._epoch.append(goals.progress[goals.names.index("retain")].item())

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Compare the epoch."""
        self.lowest, self._epoch = min(self.lowest, mean(self._epoch)), []


SETTINGS: dict[str, Setting] = {
    "GoalBarrier": Setting(GoalBarrier),
    "sum with goals": Setting(Scalarization),
    "MinNorm with goals": Setting(MinNorm),
    "MinNorm, satisfied .1": Setting(lambda: MinNorm(satisfied={"forget": 0.1}), goals=False, bounded=True),
    "MinNorm": Setting(MinNorm, goals=False),
    "GoalBarrier, kappa 2, no integral": Setting(lambda: GoalBarrier(2.0, gain=0.0, brake=0.0)),
    "augmented Lagrangian": Setting(rivals.AugmentedLagrangian),
    "FAMO with goals": Setting(rivals.FAMO),
    "smooth Tchebycheff with goals": Setting(rivals.SmoothTchebycheff),
    "dynamic barrier with goals": Setting(rivals.DynamicBarrier),
    "averaged GRU with goals": Setting(rivals.AveragedGRU),
    "sum with goals, projected steps": Setting(rivals.WeightsWithRows, callbacks=lambda: [rivals.ProjectedStep()]),
    "sum with goals, beta1 .9": Setting(Scalarization, beta1=0.9),
}


def arms(problem: Problem) -> dict[str, Setting]:
    """The nine weights and the settings that suit the problem's losses."""
    fixed = {f"{WEIGHT}{w:g}": Setting(partial(Scalarization, {"forget": w}), goals=False) for w in problem.weights}
    return fixed | {name: setting for name, setting in SETTINGS.items() if problem.bounded or not setting.bounded}


def study(
    folder: str = "runs/goals_study", problems: str = "", names: str = "", seeds: int = 5, table_only: bool = False
) -> None:
    """Run what is missing, seed by seed, then print the tables.

    Args:
        folder: where models and trials are kept.
        problems: names, separated by semicolons; all by default.
        names: of the arms, separated by semicolons; all by default.
        seeds: number of seeds, from 20 on.
        table_only: run nothing.
    """
    path = Path(folder) / "regret.jsonl"
    trials: list[Trial] = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    done = {(t["problem"], t["arm"], t["rate"], t["seed"]) for t in trials}
    for seed in range(FIRST_SEED, FIRST_SEED if table_only else FIRST_SEED + seeds):
        for name in problems.split(";") if problems else PROBLEMS:
            problem = PROBLEMS[name]
            world = problem.world(Path(folder), seed)
            for arm, setting in arms(problem).items():
                for rate in RATES:
                    if (name, arm, rate, seed) not in done and (not names or arm in names.split(";")):
                        start = time.monotonic()
                        figures = setting.run(world, problem, rate)
                        trial = {"problem": name, "arm": arm, "rate": rate, "seed": seed}
                        trial |= relative(figures, world) | {"seconds": time.monotonic() - start}
                        trials.append(trial)
                        with path.open("a") as file:
                            file.write(json.dumps(trial) + "\n")
    print_tables(trials)


def relative(figures: Mapping[str, float], world: World) -> dict[str, float]:
    """The figures that are judged, and those of the target and of the retrained model beside them."""
    target, retrained = world.target_metrics, world.retrained_metrics
    return {
        "forget_probability": figures["forget_probability"],
        "retrained_probability": retrained["forget_probability"],
        "target_probability": target["forget_probability"],
        "log10_forget_quality": figures["log10_forget_quality"],
        "target_log10_forget_quality": target["log10_forget_quality"],
        "forget_truth_ratio": figures["forget_truth_ratio"],
        "retrained_truth_ratio": retrained["forget_truth_ratio"],
        "utility": figures["utility"] / target["utility"],
        "retain_probability": figures["retain_probability"],
        "dip": figures["dip"],
    }


if __name__ == "__main__":
    auto_cli(study, as_positional=False)
