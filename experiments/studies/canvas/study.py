"""Does a common descent direction forget styles and objects with less harm than a weighted sum?

A tiny text-to-image model makes six digits in four styles. It forgets the style crimson, or the digit 3, in 50 steps
that move cross attention only. Classifiers of styles and objects look at five images of every prompt.

    python -m experiments.studies.canvas.study                      # everything, 3 seeds
    python -m experiments.studies.canvas.study --arms min-norm      # some arms
    python -m experiments.studies.canvas.study --table_only true    # the tables of earlier runs

Every run is kept in `trials.jsonl`; what is there already is not run again.
"""

import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from statistics import mean, stdev

from jsonargparse import auto_cli

from experiments.studies.canvas.problem import ATTENTION, Problem, adam
from unlearn_pl.combiners import MinNorm
from unlearn_pl.data import ConceptRequest, ForgetObject, ForgetStyle
from unlearn_pl.masks import Mask, MaskFile, TrainableParameters
from unlearn_pl.modules import ESD, MOLLM, GradAscent, SalUn, UnlearningModule
from unlearn_pl.optim import Constant

REQUESTS: Mapping[str, ConceptRequest] = {"style": ForgetStyle("crimson"), "object": ForgetObject("3")}
STEPS = 50
RATE = 2e-3
"""Learning rate of all arms that do not name another."""

ArmFactory = Callable[[Problem, str], UnlearningModule]


def options(mask: Mask | None = None, rate: float = RATE) -> dict:
    """What all arms share."""
    return {"mask": mask or TrainableParameters([ATTENTION]), "optimizer": adam(rate), "schedule": Constant()}


def weighted(forget_weight: float) -> ArmFactory:
    """The weighted sum of the misalignment and the retain loss: what UnlearnCanvas' code of SalUn runs at weight 1."""
    return lambda problem, request: SalUn(problem.unet(), forget_weight, **options())


def masked(problem: Problem, request: str) -> UnlearningModule:
    """The same on the salient half of the weights: SalUn."""
    return SalUn(problem.unet(), **options(MaskFile(str(problem.mask(REQUESTS[request], f"{request} salun")))))


ARMS: dict[str, ArmFactory] = {
    "sum": weighted(1.0),
    "sum, forget .5": weighted(0.5),
    "sum, forget .25": weighted(0.25),
    "min-norm": lambda problem, request: SalUn(problem.unet(), combiner=MinNorm(), **options()),
    "MOLLM": lambda problem, request: MOLLM(problem.unet(), **options()),
    "SalUn": masked,
    "ESD-x": lambda problem, request: ESD(problem.unet(), **options()),
    "ESD-x, rate .0005": lambda problem, request: ESD(problem.unet(), **options(rate=5e-4)),
    "ascent": lambda problem, request: GradAscent(problem.unet(), **options()),
}
COLUMNS = {
    "unlearning_accuracy": "UA",
    "in_domain_retain_accuracy": "IRA",
    "cross_domain_retain_accuracy": "CRA (others)",
    "cross_domain_retain_accuracy_all": "CRA (all)",
    "fid": "FID",
    "seconds": "CPU s",
}


def study(folder: str = "runs/canvas_study", arms: str = "", seeds: int = 3, table_only: bool = False) -> None:
    """Run what is missing, then print the tables.

    Args:
        folder: where models and trials are kept.
        arms: names, separated by semicolons; all by default.
        seeds: number of seeds.
        table_only: run nothing.
    """
    path = Path(folder) / "trials.jsonl"
    trials = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    done = {(trial["request"], trial["arm"], trial["seed"]) for trial in trials}
    named = ["original", *(arms.split(";") if arms else ARMS)]
    start = time.process_time()
    for seed in () if table_only else range(seeds):
        problem = Problem(Path(folder), seed)
        problem.prepare()
        for request in REQUESTS:
            for arm in named:
                if (request, arm, seed) not in done:
                    trials.append(run(problem, request, arm))
                    with path.open("a") as file:
                        file.write(json.dumps(trials[-1]) + "\n")
    if not table_only:
        print(f"{time.process_time() - start:.0f} s of processor time")
    print_tables(trials)


def run(problem: Problem, request: str, arm: str) -> dict:
    """Train one arm, unless it is the original, and evaluate it."""
    forget, name, seconds = REQUESTS[request], "target", 0.0
    if arm in ARMS:
        name = f"{request} {arm}"
        module = ARMS[arm](problem, request)
        seconds = problem.fit(name, module, problem.data(forget, splits=["retain"]), STEPS)
    results = problem.evaluate(name, forget, problem.own / f"{request} {arm}.json")
    found = {column: results.metrics[column] for column in COLUMNS if column in results.metrics}
    return {"request": request, "arm": arm, "seed": problem.seed, **found, "seconds": seconds}


def print_tables(trials: list[dict]) -> None:
    """Per request: means over the seeds, with standard deviations; shares in per cent."""
    for request in REQUESTS:
        print(f"\n{request}\n\n| arm | seeds | " + " | ".join(COLUMNS.values()) + " |")
        print("|---" * (len(COLUMNS) + 2) + "|")
        for arm in ("original", *ARMS):
            runs = [trial for trial in trials if (trial["request"], trial["arm"]) == (request, arm)]
            if runs:
                print(f"| {arm} | {len(runs)} | " + " | ".join(cell(runs, column) for column in COLUMNS) + " |")


def cell(runs: list[dict], column: str) -> str:
    """Mean and standard deviation."""
    scale = 100 if column.endswith(("accuracy", "accuracy_all")) else 1
    values = [scale * trial[column] for trial in runs if trial.get(column) is not None]
    if not values:
        return "-"
    spread = f" ({stdev(values):.1f})" if len(values) > 1 else ""
    return f"{mean(values):.1f}{spread}"


if __name__ == "__main__":
    auto_cli(study, as_positional=False)
