"""Do pseudo words bring a forgotten style or object back? The models of the study under textual inversion.

    python -m experiments.studies.canvas.study       # first: the models
    python -m experiments.studies.canvas.attacked    # 3 seeds, minutes

The attacker has 20 digits that no model was trained on. The baseline is a model trained without what is forgotten.
"""

import functools
import json
from collections.abc import Sequence
from pathlib import Path
from statistics import mean

import torch
from jsonargparse import auto_cli

from experiments.studies.canvas.problem import TARGET_STEPS, Problem, adam
from experiments.studies.canvas.study import ARMS, REQUESTS, STEPS, cell
from unlearn_pl.callbacks import CanvasEvaluation
from unlearn_pl.data import MiniCanvasDataModule
from unlearn_pl.models import save_pretrained
from unlearn_pl.modules import FineTuning
from unlearn_pl.robustness import Audit, ImageSubject, TextualInversion
from unlearn_pl.robustness.audit import AUDITED

ATTACKED = ("original", "sum", "min-norm", "SalUn", "ESD-x", "ascent", "retrained")
VECTORS = (1, 2)
COLUMNS = {"forget_accuracy": "forgotten", "forget_both_accuracy": "both"}


def attacks() -> list[TextualInversion]:
    """One and two words, on digits 100 to 158 of each kind; models have seen 0 to 99."""
    images = MiniCanvasDataModule(skip_per_pair=100, images_per_pair=59)
    return [TextualInversion(images, vectors=vectors) for vectors in VECTORS]


def study(
    folder: str = "runs/canvas_study",
    arms: str = "",
    requests: str = "style;object",
    seeds: int = 3,
    table_only: bool = False,
) -> None:
    """Attack what was not attacked yet, then print the tables.

    Args:
        folder: of the study, with its models.
        arms: names, separated by semicolons; all by default.
        requests: what is forgotten, separated by semicolons.
        seeds: number of seeds.
        table_only: run nothing.
    """
    trials: list[dict] = []
    for seed in range(seeds):
        problem = Problem(Path(folder), seed)
        for request in requests.split(";"):
            for arm in arms.split(";") if arms else ATTACKED:
                output = problem.own / "attacked" / f"{request} {arm}"
                if not table_only:
                    run(problem, request, arm, output)
                trials += rows_of(output / "attacks.json", request, arm)
    print_tables(trials)


def run(problem: Problem, request: str, arm: str, output: Path) -> None:
    """Attack one model; what is in its attacks.json already is not repeated."""
    folder = problem.own / "folders" / f"{request} {arm}"
    if not folder.exists():
        save_pretrained(problem.unet(weights_of(problem, request, arm)).build(), folder)
    data = problem.data(REQUESTS[request], splits=["forget", "retain"])
    evaluation = CanvasEvaluation(problem.classifier("style"), problem.classifier("object"))
    kind = problem.unet(None)
    subject = ImageSubject(str(folder), data, seed=problem.seed, accelerator="cpu", kind=kind, evaluation=evaluation)
    for outcome in Audit(subject, attacks(), output).run():
        print(problem.seed, request, arm, outcome.attack, dict(outcome.after), f"{outcome.seconds:.0f} s", flush=True)


def weights_of(problem: Problem, request: str, arm: str) -> str:
    """Name of the weights of an arm; trains it, unless the study has it already."""
    problem.prepare()
    name = "target" if arm == "original" else f"{request} {arm}"
    if (problem.own / f"{name}.safetensors").exists():
        return name
    forget = REQUESTS[request]
    if arm != "retrained":
        problem.fit(name, ARMS[arm](problem, request), problem.data(forget, splits=["retain"]), STEPS)
        return name
    one_cycle = functools.partial(torch.optim.lr_scheduler.OneCycleLR, max_lr=6e-3, total_steps=TARGET_STEPS + 1)
    model = problem.unet(None, prompt_dropout=0.1)
    module = FineTuning(model, stream="retain", optimizer=adam(6e-3), schedule=one_cycle)
    problem.fit(name, module, problem.data(forget, batch_size=64, micro_batch_size=64, splits=["retain"]), TARGET_STEPS)
    return name


def rows_of(file: Path, request: str, arm: str) -> list[dict]:
    """The outcomes in an ``attacks.json``; none if there is no such file."""
    if not file.exists():
        return []
    outcomes = [outcome for outcome in json.loads(file.read_text())["outcomes"] if outcome["role"] == AUDITED]
    trials = []
    for found in outcomes:
        rows = zip(found["rows"]["forget_accuracy"], found["rows"]["forget_other_accuracy"], strict=True)
        both = {"forget_both_accuracy": mean(style * thing for style, thing in rows)}
        trials.append({"request": request, "arm": arm, "attack": found["attack"], **found["after"], **both})
    return trials


def print_tables(trials: Sequence[dict]) -> None:
    """Per request: shares of images in per cent, means over the seeds with standard deviations."""
    names = list(dict.fromkeys(trial["attack"] for trial in trials))
    for request in REQUESTS:
        header = " | ".join(f"{name}: {column}" for name in names for column in COLUMNS.values())
        print(f"\n{request}\n\n| arm | {header} |")
        print("|---" * (len(COLUMNS) * len(names) + 1) + "|")
        for arm in ATTACKED:
            found = [trial for trial in trials if (trial["request"], trial["arm"]) == (request, arm)]
            cells = [cell([t for t in found if t["attack"] == name], column) for name in names for column in COLUMNS]
            if found:
                print(f"| {arm} | " + " | ".join(cells) + " |")


if __name__ == "__main__":
    auto_cli(study, as_positional=False)
