"""Which method really forgets, on SmolLM2-135M and TOFU's own rows: unlearning depth and leaks in sampled answers.

    python -m experiments.studies.proof.smollm2 --tofu path/to/tofu --folder runs/smollm2_goals
    python -m experiments.studies.proof.smollm2_attacked --tofu path/to/tofu --folder runs/smollm2_goals

The folder is that of `experiments.studies.goals.smollm2`, with a model in every `<run>/hf`; its `target` and `retain`
are needed. Every method unlearns with its default recipe (`experiments/methods/`), at the rate and the number of steps
of `experiments/smollm2/graddiff.yaml`, into another folder. What is there already is not run again. End points of the
study of goals are measured by their names: `--runs '[target,retain,"MOLLM_with_goals,_52_steps_0"]'`.
"""

import json
from collections.abc import Sequence
from pathlib import Path

import lightning.pytorch as pl
from jsonargparse import auto_cli

from experiments.studies.goals.smollm2 import RATE, Arm, trained
from experiments.studies.proof.table import cell
from unlearn_pl.callbacks import Leaks, QAEvaluation, UDSEvaluation
from unlearn_pl.data import TOFUDataModule
from unlearn_pl.metrics import SpanLeak
from unlearn_pl.modules import PretrainedModule
from unlearn_pl.results import read_results

FULL, RETAIN = "target", "retain"
METHODS = ("GradDiff", "NPO", "SimNPO", "RMU", "MOLLM")
RUNS = (FULL, RETAIN, *METHODS)
SAMPLES, MAX_NEW_TOKENS = 8, 40
SCORES = {
    "P(forget)": ("qa", "probability"),
    "leak@1": ("qa", "leak_at_1"),
    f"leak@{SAMPLES}": ("qa", f"leak_at_{SAMPLES}"),
    "UDS": ("uds", "uds"),
}
"""Title of a column to the file and the score of its questions."""


def study(
    tofu: str = "tofu",
    folder: str = "runs/smollm2_goals",
    output: str = "runs/proof_smollm2",
    questions: int = 10,
    runs: Sequence[str] = RUNS,
    table_only: bool = False,
) -> None:
    """Run what is missing and print the table.

    Args:
        tofu: folder with TOFU's files.
        folder: of the models that are there.
        output: of the models that are trained, and of the results.
        questions: forget questions, from the first.
        runs: methods, or folders of models, in the order of the table.
        table_only: print the table of the runs that are there.
    """
    place = Path(output)
    for run in () if table_only else runs:
        if run in METHODS:
            trained(place / run, recipe(run, Path(folder)), 0, ["--data.path", tofu])
        if not (place / run / "uds.json").exists():
            measure(Path(folder), place, run, tofu, questions)
            print(json.dumps({"run": run}), flush=True)
    print("| model | " + " | ".join(SCORES) + " |\n|---|" + "---|" * len(SCORES))
    for run in runs:
        if (place / run / "uds.json").exists():
            print(f"| {run} | " + " | ".join(cell(values(place / run, title)) for title in SCORES) + " |")


def recipe(method: str, folder: Path) -> Arm:
    """The default recipe of a method, at the rate, warm-up and steps of the tuned ones."""
    target = ["--model.model", str(folder / FULL / "hf")]
    pace = [RATE, "2e-4", "--model.schedule.init_args.warmup_epochs", "0.5"]
    return Arm(["smollm2/graddiff.yaml", f"methods/{method.lower()}.yaml"], [*target, *pace])


def weights(models: Path, place: Path, run: str) -> str:
    """The folder of a model."""
    return str((place if run in METHODS else models) / run / "hf")


def forget_data(models: Path, tofu: str, questions: int, splits: Sequence[str] = ("forget",)) -> TOFUDataModule:
    """The rows that the models were to forget."""
    return TOFUDataModule(
        str(models / FULL / "hf"),
        "forget05",
        path=tofu,
        forget_size=100,
        splits=list(splits),
        eval_batch_size=questions,
        max_eval_examples=questions,
    )


def measure(models: Path, place: Path, run: str, tofu: str, questions: int) -> None:
    """Write the results of one model."""
    evaluations = [
        QAEvaluation(str(place / run / "qa.json"), Leaks(SAMPLES, SpanLeak())),
        UDSEvaluation(
            str(models / FULL / "hf"),
            str(models / RETAIN / "hf"),
            str(place / run / "uds.json"),
            cache=str(place / "retain_drops.safetensors"),
        ),
    ]
    trainer = pl.Trainer(accelerator="cpu", devices=1, logger=False, enable_checkpointing=False, callbacks=evaluations)
    module = PretrainedModule(weights(models, place, run), max_new_tokens=MAX_NEW_TOKENS)
    trainer.test(module, forget_data(models, tofu, questions), verbose=False)


def values(folder: Path, title: str) -> list[float]:
    """The scores of the forget questions in a column; empty if the model was not measured."""
    file, score = SCORES[title]
    path = folder / f"{file}.json"
    return list(read_results(path).per_example["forget"].get(score, {}).values()) if path.exists() else []


if __name__ == "__main__":
    auto_cli(study, as_positional=False)
