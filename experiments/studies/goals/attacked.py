"""Does what was forgotten with goals come back by relearning, or by rounding the weights?

The settings of the study of regret, and the best of nine weights with hindsight, at one learning rate. An attacker
fine-tunes on a fifth of the forget answers and asks for the others, or rounds the weights to 4 bits.

    python -m experiments.studies.goals.attacked                    # everything that `regret` has found, 3 seeds
    python -m experiments.studies.goals.attacked --table_only true  # the table of earlier runs

Every run is kept in `attacked.jsonl`; what is there already is not run again.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from statistics import mean

from jsonargparse import auto_cli
from torch import nn

from experiments.studies.combiners.analysis import Trial
from experiments.studies.combiners.run import World
from experiments.studies.goals.problems import PROBLEMS
from experiments.studies.goals.regret import FIRST_SEED, SETTINGS, arms
from experiments.studies.goals.regret_tables import Table, number, two_sided
from experiments.studies.relearning.run import make_attack
from unlearn_pl.commands.story import quiet
from unlearn_pl.robustness import IntegerRounding, Quantization

RATE = 3e-3
CHOSEN = ("GoalBarrier", "sum with goals", "MinNorm with goals", "MinNorm, satisfied .1", "MinNorm")
BEST, RETAIN = "best of nine weights", "retrained model"
RELEARNING = make_attack(1e-3, steps=16)
ROUNDING = Quantization(IntegerRounding(bits=4, group_size=32))
FORGET, KEPT = "forget_probability", "retain_probability"
FIGURES = ("before", "relearned", "rounded", "retain", "retain_rounded")


def study(folder: str = "runs/goals_study", seeds: int = 3, table_only: bool = False) -> None:
    """Run what is missing, seed by seed, then print the table.

    Args:
        folder: where the models and trials of the study of regret are.
        seeds: number of seeds, from 20 on.
        table_only: run nothing.
    """
    path = Path(folder) / "attacked.jsonl"
    trials: list[Trial] = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    done = {(t["problem"], t["arm"], t["seed"]) for t in trials}
    regret = [json.loads(line) for line in (Path(folder) / "regret.jsonl").read_text().splitlines()]
    table = Table(regret, two_sided)
    for seed in range(FIRST_SEED, FIRST_SEED if table_only else FIRST_SEED + seeds):
        for name, problem in PROBLEMS.items():
            if (name, RATE) in table.values and problem.epochs == 8:
                world = problem.world(Path(folder), seed)
                settings = {arm: setting for arm, setting in arms(problem).items() if arm in CHOSEN}
                settings[BEST] = arms(problem)[table.best_weight((name, RATE))]
                for arm in (RETAIN, *settings):
                    if (name, arm, seed) not in done:
                        if arm == RETAIN:
                            model = world.retain_model
                        else:
                            module = settings[arm].module(world, problem, RATE)
                            world.fit(module, problem.epochs)
                            model = module.model
                        trial = {"problem": name, "arm": arm, "seed": seed} | attacked(world, model)
                        trials.append(trial)
                        with path.open("a") as file:
                            file.write(json.dumps(trial) + "\n")
    print_table(trials)


def attacked(world: World, model: nn.Module) -> Mapping[str, float]:
    """Probabilities before the attacks and after."""
    subject = world.subject(model)
    with quiet():
        plain = subject.score(subject.pretrained(), subject.splits).metrics
        relearned = RELEARNING.run(subject).curve[FORGET]
        rounded = ROUNDING.run(subject).after
    return {
        "before": plain[FORGET],
        "relearned": relearned[-1],
        "rounded": rounded[FORGET],
        "retain": plain[KEPT],
        "retain_rounded": rounded[KEPT],
    }


def print_table(trials: list[Trial]) -> None:
    """Means over problems and seeds."""
    print("| model | runs | P(forget) | relearned | 4 bits | P(retain) | 4 bits |")
    print("|---|---|---|---|---|---|---|")
    for arm in (RETAIN, BEST, *(name for name in SETTINGS if name in CHOSEN)):
        runs = [trial for trial in trials if trial["arm"] == arm]
        if runs:
            cells = [f"{mean(number(run, figure) for run in runs):.3f}" for figure in FIGURES]
            print(f"| {arm} | {len(runs)} | " + " | ".join(cells) + " |")


if __name__ == "__main__":
    auto_cli(study, as_positional=False)
