"""Unlearning depth and leaks of SmolLM2-135M on TOFU's own rows: end points of the study of goals.

    python -m experiments.studies.proof.smollm2 --tofu path/to/tofu --folder runs/smollm2_goals

The folder is that of `experiments.studies.goals.smollm2`, with a model in every `<run>/hf`. Results are written to
another folder, and what is there already is not run again.
"""

import json
from collections.abc import Sequence
from pathlib import Path

import lightning.pytorch as pl
from jsonargparse import auto_cli

from experiments.studies.proof.table import cell
from unlearn_pl.callbacks import Leaks, QAEvaluation, UDSEvaluation
from unlearn_pl.data import TOFUDataModule
from unlearn_pl.metrics import SpanLeak
from unlearn_pl.modules import PretrainedModule
from unlearn_pl.results import read_results

FULL, RETAIN = "target", "retain"
RUNS = (
    FULL,
    RETAIN,
    "GradDiff,_the_best_of_four_settings_0",
    "MOLLM_as_in_the_paper_0",
    "MOLLM_with_goals,_52_steps_0",
    "NPO_with_goals,_52_steps_0",
)
SAMPLES, MAX_NEW_TOKENS = 8, 40
SCORES = {"P(forget)": ("qa", "probability"), "leak@1": ("qa", "leak_at_1"), "leak@8": ("qa", "leak_at_8")}


def study(
    tofu: str = "tofu",
    folder: str = "runs/smollm2_goals",
    output: str = "runs/proof_smollm2",
    questions: int = 20,
    runs: Sequence[str] = RUNS,
    table_only: bool = False,
) -> None:
    """Run what is missing and print the table.

    Args:
        tofu: folder with TOFU's files.
        folder: of the models.
        output: of the results.
        questions: forget questions, from the first.
        runs: folders of models, in the order of the table.
        table_only: print the table of the runs that are there.
    """
    place = Path(output)
    for run in () if table_only else runs:
        if not (place / run / "uds.json").exists():
            measure(Path(folder), place, run, tofu, questions)
            print(json.dumps({"run": run}), flush=True)
    print("| model | " + " | ".join([*SCORES, "UDS"]) + " |\n|---|" + "---|" * (len(SCORES) + 1))
    for run in runs:
        if (place / run / "uds.json").exists():
            cells = [values(place / run, *where) for where in SCORES.values()] + [values(place / run, "uds", "uds")]
            print(f"| {run} | " + " | ".join(map(cell, cells)) + " |")


def measure(models: Path, place: Path, run: str, tofu: str, questions: int) -> None:
    """Write the results of one model."""
    data = TOFUDataModule(
        str(models / FULL / "hf"),
        "forget05",
        path=tofu,
        forget_size=100,
        splits=["forget"],
        eval_batch_size=questions,
        max_eval_examples=questions,
    )
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
    module = PretrainedModule(str(models / run / "hf"), max_new_tokens=MAX_NEW_TOKENS)
    trainer.test(module, data, verbose=False)


def values(folder: Path, file: str, score: str) -> list[float]:
    """The scores of the forget questions."""
    return list(read_results(folder / f"{file}.json").per_example["forget"].get(score, {}).values())


if __name__ == "__main__":
    auto_cli(study, as_positional=False)
