"""``unlearn-pl extrapolate``: unlearning by weight arithmetic, away from a model that was trained on the forget set."""

import copy
from collections.abc import Sequence
from pathlib import Path

import lightning.pytorch as pl
from jsonargparse import ArgumentParser

from unlearn_pl.callbacks import EvaluationCallback, ProgressBar
from unlearn_pl.commands.parser import call, function_parser
from unlearn_pl.data import UnlearningDataModule
from unlearn_pl.models import CausalLM
from unlearn_pl.models.arithmetic.combine import combine_folders, extrapolated
from unlearn_pl.modules import PretrainedModule
from unlearn_pl.modules.checkpoints.folder_lock import locked_folder
from unlearn_pl.results import check_writable
from unlearn_pl.robustness.target import Precision


def main(args: Sequence[str]) -> None:
    """Run ``unlearn-pl extrapolate ARGS``."""
    call(extrapolate, extrapolate_parser(), args)


def extrapolate_parser() -> ArgumentParser:
    """The parser of the command's arguments and of its YAML files."""
    return function_parser(extrapolate, "Move weights away from a trained model's.")


def extrapolate(
    original: str,
    trained: str,
    factor: list[float],
    output: str = "runs/extrapolated",
    data: UnlearningDataModule | None = None,
    evaluations: list[EvaluationCallback] | None = None,
    accelerator: str = "auto",
    precision: Precision = "32-true",
) -> None:
    """Write ``theta_0 - factor (theta_1 - theta_0)`` for every factor, and evaluate each model.

    ``theta_0`` are the original weights and ``theta_1`` those after further training on the forget set. Each model
    becomes the folder ``OUTPUT/FACTOR/hf``, and its results ``OUTPUT/FACTOR/results.json``.

    Args:
        original: folder of the model that is to forget.
        trained: folder of the same model after further training on what is to be forgotten.
        factor: how far to go in the opposite direction; one model per number.
        output: folder to write.
        data: data module of the evaluations.
        evaluations: evaluations of every model; none without data.
        accelerator: the Trainer's.
        precision: the Trainer's.

    Raises:
        ValueError: if the models differ in more than their weights, or evaluations have no data; before anything is
            written.
    """
    if evaluations and data is None:
        raise ValueError("The evaluations need data; give --data, or no --evaluations.")
    if not factor or len(set(factor)) < len(factor):
        raise ValueError(f"factor={factor}; accepted: at least one number, none of them twice.")
    rules = {number: extrapolated(number) for number in factor}
    check_writable(Path(output), "--output")
    with locked_folder(output, "extrapolate", "--output"):
        for number, rule in rules.items():
            folder = Path(output) / str(number)
            combine_folders(original, trained, folder / "hf", rule)
            print(f"Written to {folder / 'hf'}", flush=True)
            if evaluations and data is not None:
                callbacks = [*map(copy.deepcopy, evaluations), ProgressBar()]
                _evaluate(folder, data, callbacks, accelerator, precision)


def _evaluate(
    folder: Path, data: UnlearningDataModule, callbacks: list[pl.Callback], accelerator: str, precision: Precision
) -> None:
    trainer = pl.Trainer(
        accelerator=accelerator,
        devices=1,
        precision=precision,
        default_root_dir=folder,
        logger=False,
        enable_checkpointing=False,
        enable_model_summary=False,
        callbacks=callbacks,
    )
    trainer.test(PretrainedModule(CausalLM(str(folder / "hf"))), data, verbose=False)
