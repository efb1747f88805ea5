"""Does one untuned setting with goals end where it is asked, and how does it compare with fixed weights?

Tiny models that know fictitious authors unlearn half of them in 60 steps, at three learning rates. Every arm has the
objectives of MOLLM (UCE, KL, NLL). The arms with goals are asked for half of the holdout level and at least 90 % of
the retain probability at the start; nothing about them is tuned. Fixed weights are tried over a wide grid, of which the
best with hindsight is shown.

    python -m experiments.studies.goals.study                          # everything, 5 seeds
    python -m experiments.studies.goals.study --arms barrier,default   # some arms
    python -m experiments.studies.goals.study --table_only true        # the table of earlier runs

Every run is kept in `trials.jsonl`; what is there already is not run again.
"""

import json
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from statistics import mean, stdev

import lightning.pytorch as pl
import torch
from jsonargparse import auto_cli

from unlearn_pl.callbacks import StopAtGoals
from unlearn_pl.combiners import GoalBarrier, MinNorm, Scalarization
from unlearn_pl.commands.story import Story
from unlearn_pl.goals import AtLeast, AtMost, Goal
from unlearn_pl.modules import MOLLM, UnlearningModule
from unlearn_pl.report import read_history
from unlearn_pl.results import Results

RATES = (5e-4, 1e-3, 2e-3)
WEIGHTS = (1.0, 0.3, 3.0, 0.1, 10.0, 0.6, 2.0, 5.0, 30.0)
ArmFactory = Callable[[str, float], UnlearningModule]


def adam(lr: float, beta1: float = 0.9) -> Callable[..., torch.optim.Optimizer]:
    return partial(torch.optim.AdamW, lr=lr, betas=(beta1, 0.999))


def goals() -> dict[str, Goal]:
    return {"forget": AtMost("holdout"), "retain": AtLeast(share=0.9)}


class StoppingMOLLM(MOLLM):
    """MOLLM that ends training at its goals."""

    def configure_callbacks(self) -> Sequence[pl.Callback]:
        return [*super().configure_callbacks(), StopAtGoals()]


def weighted(weight: float) -> ArmFactory:
    return lambda m, lr: MOLLM(m, combiner=Scalarization({"forget": weight}), optimizer=adam(lr))


ARMS: dict[str, ArmFactory] = {
    "barrier": lambda m, lr: MOLLM(m, combiner=GoalBarrier(), goals=goals(), optimizer=adam(lr, 0.5)),
    "default": lambda m, lr: MOLLM(m, combiner=MinNorm(satisfied={"forget": 0.1}), optimizer=adam(lr)),
    "sum with goals": lambda m, lr: MOLLM(m, combiner=Scalarization(), goals=goals(), optimizer=adam(lr, 0.5)),
    "barrier that stops": lambda m, lr: StoppingMOLLM(
        m, combiner=GoalBarrier(), goals=goals(), optimizer=adam(lr, 0.5)
    ),
    "MinNorm with goals": lambda m, lr: MOLLM(m, combiner=MinNorm(), goals=goals(), optimizer=adam(lr, 0.5)),
    "barrier without integral": lambda m, lr: MOLLM(
        m, combiner=GoalBarrier(gain=0.0, brake=0.0), goals=goals(), optimizer=adam(lr, 0.5)
    ),
    **{f"weight {weight:g}": weighted(weight) for weight in WEIGHTS},
}
COLUMNS = {
    "goal_distance": "P(forget) - goal",
    "retrained_distance": "P(forget) - retrained",
    "utility": "utility kept",
    "dip": "dip",
    "log10_forget_quality": "log10 FQ",
    "steps": "steps",
}


def study(folder: str = "runs/goals_study", arms: str = "", seeds: int = 5, table_only: bool = False) -> None:
    """Run what is missing, then print the table.

    Args:
        folder: where models and trials are kept.
        arms: names, separated by commas; all by default.
        seeds: number of seeds.
        table_only: run nothing.
    """
    path = Path(folder) / "trials.jsonl"
    trials = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    done = {(t["arm"], t["rate"], t["seed"]) for t in trials}
    for name in () if table_only else arms.split(",") if arms else ARMS:
        for seed in range(seeds):
            story = Story(Path(folder) / f"seed{seed}", seed)
            target, retrained = prepare(story)
            for rate in RATES:
                if (name, rate, seed) not in done:
                    module = ARMS[name](str(story.path("target")), rate)
                    trial = {"arm": name, "rate": rate, "seed": seed, **run(story, module, target, retrained)}
                    trials.append(trial)
                    with path.open("a") as file:
                        file.write(json.dumps(trial) + "\n")
    goal = {t["seed"]: t["goal"] for t in trials if t["goal"] is not None}  # the same for all arms
    print_tables([t | {"goal_distance": t["forget_probability"] - goal[t["seed"]]} for t in trials])


def prepare(story: Story) -> tuple[Results, Results]:
    """The evaluated target and the retrained model, trained where they are missing."""
    for name, split in (("target", "full"), ("retain", "retain")):
        if not story.path(name).exists():
            story.fine_tune(name, split)  # type: ignore[arg-type]
    return story.evaluate("target"), story.evaluate("retain")


def run(story: Story, module: UnlearningModule, target: Results, retrained: Results) -> dict[str, float | None]:
    """Unlearn and evaluate once."""
    story.unlearn("run", module)
    metrics = story.evaluate("run", str(story.folder / "retain" / "results.json")).metrics
    history = read_history(story.folder / "run" / "logs" / "metrics.csv")
    on_the_way = [value for _, value in history["val/tofu/retain_probability"]]
    course = module.descent.goals.courses[0]
    return {
        "goal": None if course is None else course.absolute_bound,
        "forget_probability": metrics["forget_probability"],
        "retrained_distance": metrics["forget_probability"] - retrained.metrics["forget_probability"],
        "retain_probability": metrics["retain_probability"],
        "utility": metrics["model_utility"] / target.metrics["model_utility"],
        "dip": max(0.0, target.metrics["retain_probability"] - min(on_the_way)),
        "log10_forget_quality": max(-99.0, metrics["log10_forget_quality"]),
        "forget_truth_ratio": metrics["forget_truth_ratio"],
        "steps": float(module.windows_closed),
        "seconds": story.seconds["run"],
    }


def print_tables(trials: list[dict]) -> None:
    """Per rate: means over the seeds, with standard deviations, of all arms and of the best fixed weight."""
    for rate in RATES:
        at_rate = [t for t in trials if t["rate"] == rate]
        arms = {name: [t for t in at_rate if t["arm"] == name] for name in dict.fromkeys(t["arm"] for t in at_rate)}
        fixed = {name: runs for name, runs in arms.items() if name.startswith("weight")}
        print(f"\nlr {rate:g}\n\n| arm | seeds | " + " | ".join(COLUMNS.values()) + " |")
        print("|---" * (len(COLUMNS) + 2) + "|")
        for name, runs in arms.items():
            if name not in fixed:
                print_row(name, runs)
        for how, key in (("nearest to the retrained model", distance), ("best utility, forgotten", lost)):
            if fixed:
                best = min(fixed, key=lambda name, key=key: mean(map(key, fixed[name])))
                print_row(f"best of {len(fixed)} fixed weights, {how}: {best.removeprefix('weight ')}", fixed[best])


def distance(trial: dict) -> float:
    """Distance of the forget probability from the retrained model's."""
    return abs(trial["retrained_distance"])


def lost(trial: dict) -> float:
    """Utility that is lost, where the forget probability is within .1 of the retrained model's; else 1 more."""
    return 1 - trial["utility"] + (distance(trial) > 0.1)


def print_row(name: str, runs: list[dict]) -> None:
    cells = [
        f"{mean(t[key] for t in runs):.3f}" + (f" ({stdev(t[key] for t in runs):.3f})" if len(runs) > 1 else "")
        for key in COLUMNS
    ]
    print(f"| {name} | {len(runs)} | " + " | ".join(cells) + " |")


if __name__ == "__main__":
    auto_cli(study, as_positional=False)
