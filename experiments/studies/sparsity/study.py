"""Does sparsity make unlearning simpler, on real digits? The claims of Jia et al. (arXiv 2304.04934), and rivals.

A perceptron learns 600 digits of MNIST, and forgets a class, a tenth of the images, or a tenth with wrong labels, in
100 steps. Every arm is compared with a model that was retrained without what is forgotten. `FT sparse` starts from a
network whose weights are 95 % zeros, and is compared with the retrained network of the same mask.

    python -m experiments.studies.sparsity.study                      # everything, 3 seeds
    python -m experiments.studies.sparsity.study --arms FT,MOLLM      # some arms
    python -m experiments.studies.sparsity.study --table_only true    # the tables of earlier runs

Every run is kept in `trials.jsonl`; what is there already is not run again.
"""

import json
from collections.abc import Callable
from pathlib import Path
from statistics import mean, stdev

import lightning.pytorch as pl
from jsonargparse import auto_cli

from experiments.studies.sparsity.digits import REQUESTS, SPARSITY, UNLEARNING_STEPS, Problem, sgd
from unlearn_pl.attribution import SalUn
from unlearn_pl.callbacks import L1Sparse
from unlearn_pl.combiners import Scalarization
from unlearn_pl.goals import AtLeast, AtMost, Goal
from unlearn_pl.masks import MaskFile, PrunedWeights
from unlearn_pl.modules import MOLLM, NPO, FineTuning, GradDiff, UnlearningModule
from unlearn_pl.objectives import CausalLMLoss, RandomLabelLoss
from unlearn_pl.optim import Constant

FORGETTING_RATE = 0.005
"""Learning rate of the arms that descend a forget loss: of .001, .002, .005 and .02, chosen on seed 0 for all."""

ArmFactory = Callable[[Problem], tuple[UnlearningModule, list[pl.Callback]]]
LEVELS: dict[str, float | str] = {"one class": 0.01, "random rows": "holdout", "wrong labels": 0.05}
"""Probability of the labels to be forgotten that the arm with goals is asked for."""


def fine_tuned(*penalties: pl.Callback) -> ArmFactory:
    """Training on the retain set, with penalties."""
    return lambda problem: (
        FineTuning(problem.classifier("target"), stream="retain", optimizer=sgd(), schedule=Constant()),
        list(penalties),
    )


def sparse_fine_tuned(problem: Problem) -> tuple[UnlearningModule, list[pl.Callback]]:
    """The same, from the sparse network."""
    start = problem.classifier("sparse target")
    mask = PrunedWeights(SPARSITY)
    return FineTuning(start, stream="retain", mask=mask, optimizer=sgd(), schedule=Constant()), []


def preset(cls: type[UnlearningModule]) -> ArmFactory:
    """A method with its defaults."""
    return lambda problem: (
        cls(problem.classifier("target"), optimizer=sgd(FORGETTING_RATE), schedule=Constant()),  # type: ignore[call-arg,arg-type]
        [],
    )


def with_goals(problem: Problem) -> tuple[UnlearningModule, list[pl.Callback]]:
    """MOLLM with goals."""
    goals: dict[str, Goal] = {"forget": AtMost(LEVELS[problem.scenario]), "retain": AtLeast(share=0.95)}  # type: ignore[arg-type]
    steady = sgd(FORGETTING_RATE, momentum=0.5)
    return MOLLM(problem.classifier("target"), goals=goals, optimizer=steady, schedule=Constant()), []


def salun(problem: Problem) -> tuple[UnlearningModule, list[pl.Callback]]:
    """Random labels on the half of the weights with the largest forget gradients."""
    mask = problem.folder / "salun.mask"
    if not mask.exists():
        problem.write_mask(SalUn(0.5), mask)
    objectives = {"forget": RandomLabelLoss(seed=problem.seed), "retain": CausalLMLoss()}
    module = UnlearningModule(
        problem.classifier("target"),
        objectives,
        Scalarization(),
        mask=MaskFile(str(mask)),
        optimizer=sgd(FORGETTING_RATE),
        schedule=Constant(),
    )
    return module, []


ARMS: dict[str, ArmFactory] = {
    "FT": fine_tuned(),
    "l1 0.002": lambda problem: fine_tuned(L1Sparse(weight=0.002))(problem),
    "l1 0.003": lambda problem: fine_tuned(L1Sparse(weight=0.003))(problem),
    "l1 0.004": lambda problem: fine_tuned(L1Sparse(weight=0.004))(problem),
    "l1 0.004 (subgradient)": lambda problem: fine_tuned(L1Sparse(weight=0.004, how="subgradient"))(problem),
    "FT sparse": sparse_fine_tuned,
    "MOLLM": preset(MOLLM),
    "MOLLM with goals": with_goals,
    "NPO": preset(NPO),
    "SalUn": salun,
    "GradDiff": preset(GradDiff),
}
BASES = {"target": "retrained", "retrained": "retrained"}
SPARSE_BASES = {"sparse target": "sparse retrained", "sparse retrained": "sparse retrained"}
COLUMNS = {
    "unlearning_accuracy": "UA",
    "retain_accuracy": "RA",
    "test_accuracy": "TA",
    "membership": "MIA",
    "gap": "gap",
    "zeros": "zeros",
    "seconds": "CPU s",
}


def study(folder: str = "runs/sparsity_study", arms: str = "", seeds: int = 3, table_only: bool = False) -> None:
    """Run what is missing, then print the tables.

    Args:
        folder: where models and trials are kept.
        arms: names, separated by commas; all by default.
        seeds: number of seeds.
        table_only: run nothing.
    """
    path = Path(folder) / "trials.jsonl"
    trials = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    done = {(t["scenario"], t["arm"], t["seed"]) for t in trials}
    named = arms.split(",") if arms else list(ARMS)
    for seed in () if table_only else range(seeds):
        for scenario in REQUESTS:
            missing = [n for n in [*BASES, *SPARSE_BASES, *named] if (scenario, n, seed) not in done]
            if not missing:
                continue
            problem = Problem(Path(folder) / f"{scenario} {seed}", scenario, seed)
            problem.prepare()
            for against in ("retrained", "sparse retrained"):
                problem.evaluate(against)
            for name in missing:
                trials.append(run(problem, name))
                with path.open("a") as file:
                    file.write(json.dumps(trials[-1]) + "\n")
    print_tables(trials)


def run(problem: Problem, arm: str) -> dict[str, float | str | None]:
    """Train one arm, unless it is a base, and evaluate it."""
    zeros = None
    if arm in ARMS:
        module, penalties = ARMS[arm](problem)
        problem.fit(arm, module, UNLEARNING_STEPS, penalties)
        zeros = next((penalty.share for penalty in penalties if isinstance(penalty, L1Sparse)), None)
    against = SPARSE_BASES.get(arm, "sparse retrained" if arm == "FT sparse" else "retrained")
    metrics = problem.evaluate(arm, against).metrics
    found = {name: metrics[name] for name in COLUMNS if name in metrics}
    seconds = problem.seconds.get(arm)
    return {"scenario": problem.scenario, "arm": arm, "seed": problem.seed, **found, "zeros": zeros, "seconds": seconds}


def print_tables(trials: list[dict]) -> None:
    """Per scenario: means over the seeds, with standard deviations; in per cent, and seconds."""
    for scenario in REQUESTS:
        of_scenario = [t for t in trials if t["scenario"] == scenario]
        print(f"\n{scenario}\n\n| arm | seeds | " + " | ".join(COLUMNS.values()) + " |")
        print("|---" * (len(COLUMNS) + 2) + "|")
        for name in [*BASES, *SPARSE_BASES, *ARMS]:
            runs = [t for t in of_scenario if t["arm"] == name]
            if runs:
                print(f"| {name} | {len(runs)} | " + " | ".join(cell(runs, column) for column in COLUMNS) + " |")


def cell(runs: list[dict], column: str) -> str:
    """Mean and standard deviation over the seeds."""
    values = [t[column] for t in runs if t.get(column) is not None]
    if not values:
        return "-"
    scale = 1 if column == "seconds" else 100
    spread = f" ({scale * stdev(values):.1f})" if len(values) > 1 else ""
    return f"{scale * mean(values):.1f}{spread}"


if __name__ == "__main__":
    auto_cli(study, as_positional=False)
