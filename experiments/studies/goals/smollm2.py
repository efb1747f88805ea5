"""Goals on a real pretrained model: SmolLM2-135M and TOFU's own rows, beside runs without goals.

    python -m experiments.studies.goals.smollm2 --tofu path/to/tofu                    # everything: hours
    python -m experiments.studies.goals.smollm2 --tofu path/to/tofu --table_only true  # the table of earlier runs

A run is done when its `results.json` is there; what is there already is not run again.
"""

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean

from jsonargparse import auto_cli

RECIPES = Path(__file__).parents[2]
SMOLLM2 = RECIPES / "smollm2"
RATE = "--model.optimizer.init_args.lr"
METRICS = ("forget_probability", "retain_probability", "forget_truth_ratio", "log10_forget_quality", "model_utility")


@dataclass(frozen=True)
class Arm:
    """Recipes and arguments of a training run.

    Attributes:
        recipes: files, the last one wins.
        arguments: of `unlearn-pl fit`.
        seeds: how many; the first is 0.
    """

    recipes: Sequence[str]
    arguments: Sequence[str] = ()
    seeds: int = 3


def with_goals(epochs: int, floor: float = 0.9, share: float = 0.5, seeds: int = 1) -> Arm:
    """MOLLM with goals for ``26 epochs / 2`` steps, a floor under the retain probability, and a share of the level."""
    arguments = ["--trainer.max_epochs", str(epochs), "--model.goals.retain.share", str(floor)]
    return Arm(["smollm2/mollm_goals.yaml"], [*arguments, "--model.goals.forget.share", str(share)], seeds)


NPO = Arm(
    ["smollm2/mollm_goals.yaml", "methods/npo.yaml", "goals.yaml"],
    [RATE, "2e-4", "--model.schedule.init_args.warmup_epochs", "0.5"],
)
ARMS = {
    "MOLLM with goals, 52 steps": with_goals(epochs=4, seeds=3),
    "MOLLM as in the paper": Arm(["smollm2/mollm.yaml"]),
    "MOLLM with goals, 26 steps, floor .9": with_goals(epochs=2),
    "MOLLM with goals, 26 steps, floor .8": with_goals(epochs=2, floor=0.8),
    "MOLLM with goals, 26 steps, floor .95": with_goals(epochs=2, floor=0.95),
    "GradDiff, the best of four settings": Arm(["smollm2/graddiff.yaml"]),
    "NPO with goals, 52 steps": NPO,
    "MOLLM with goals, 52 steps, the whole level": with_goals(epochs=4, share=1.0),
}


def study(
    tofu: str = "tofu",
    folder: str = "runs/smollm2_goals",
    questions: int = 50,
    names: str = "",
    table_only: bool = False,
) -> None:
    """Run what is missing and print the table.

    Args:
        tofu: folder with TOFU's files.
        folder: of the models and results.
        questions: per split of the evaluation.
        names: arms to run, separated by semicolons; all if empty.
        table_only: print the table of the runs that are there.
    """
    place = Path(folder)
    if not table_only:
        data = ["--data.path", tofu]
        trained(place / "target", Arm(["smollm2/fine_tune.yaml"]), 0, data)
        trained(place / "retain", Arm(["smollm2/fine_tune.yaml"], ["--data.train_split", "retain95"]), 0, data)
        evaluated(place / "retain", data, questions, None)
        evaluated(place / "target", data, questions, place / "retain")
        chosen = [name for name in names.split(";") if name] or list(ARMS)
        for seed in range(3):
            for name in chosen:
                if seed < ARMS[name].seeds:
                    run = place / f"{name.replace(' ', '_')}_{seed}"
                    arm = ARMS[name]
                    target = ["--model.model", str(place / "target" / "hf")]
                    trained(run, Arm(arm.recipes, [*target, *arm.arguments]), seed, data)
                    evaluated(run, data, questions, place / "retain")
    print_table(place)


def trained(run: Path, arm: Arm, seed: int, data: Sequence[str]) -> None:
    """Train one model, unless its weights are there."""
    if not (run / "hf" / "model.safetensors").exists():
        recipes = [part for recipe in arm.recipes for part in ("-c", str(RECIPES / recipe))]
        call("fit", run, [*recipes, *arm.arguments, *data, "--seed_everything", str(seed)])


def evaluated(run: Path, data: Sequence[str], questions: int, retain: Path | None) -> None:
    """TOFU's evaluation of a model, unless its results are there."""
    if not (run / "results.json").exists():
        size = ["--model.model", str(run / "hf"), "--data.max_eval_examples", str(questions)]
        reference = ["--trainer.callbacks.retain_results", str(retain / "results.json") if retain else "null"]
        call("test", run, ["-c", str(SMOLLM2 / "evaluate.yaml"), *size, *reference, *data])


def call(command: str, run: Path, arguments: Sequence[str]) -> None:
    """Run the command line, its output in a file of the run's folder."""
    run.mkdir(parents=True, exist_ok=True)
    with (run / f"{command}.log").open("w") as log:
        line = [sys.executable, "-m", "unlearn_pl", command, *arguments, "--trainer.default_root_dir", str(run)]
        subprocess.run(line, stdout=log, stderr=subprocess.STDOUT, check=True)


def print_table(place: Path) -> None:
    """Means over the seeds, and the extremes of the two probabilities."""
    print("| run | seeds | " + " | ".join(METRICS) + " |")
    print("|---|---|" + "---|" * len(METRICS))
    for name in ["target", "retain", *ARMS]:
        files = sorted(place.glob(f"{name.replace(' ', '_')}*/results.json"))
        exact = [
            file for file in files if file.parent.name.removesuffix(file.parent.name[-2:]) == name.replace(" ", "_")
        ]
        runs = [json.loads(file.read_text())["metrics"] for file in exact or files[:1]]
        if runs:
            print(f"| {name} | {len(runs)} | " + " | ".join(cell(runs, metric) for metric in METRICS) + " |")


def cell(runs: Sequence[Mapping[str, float]], metric: str) -> str:
    """Mean of a metric, with the extremes where there are several runs."""
    values = [run[metric] for run in runs if metric in run]
    if not values:
        return "-"
    spread = f" [{min(values):.3f}, {max(values):.3f}]" if len(values) > 1 else ""
    return f"{mean(values):.3f}{spread}"


if __name__ == "__main__":
    auto_cli(study)
