"""``unlearn-pl sanitize``: what a change of the weights does to retained inputs is taken out of it (SAGE)."""

from collections.abc import Sequence
from pathlib import Path

from jsonargparse import ArgumentParser

from unlearn_pl.attribution.input_directions import InputDirections, cleaned
from unlearn_pl.commands.parser import call, function_parser
from unlearn_pl.commands.story import quiet
from unlearn_pl.data import UnlearningDataModule
from unlearn_pl.models.arithmetic.combine import check_same_kind, combine_folders
from unlearn_pl.models.arithmetic.weights_folder import WeightsFolder
from unlearn_pl.results import check_writable
from unlearn_pl.robustness import Subject


def main(args: Sequence[str]) -> None:
    """Run ``unlearn-pl sanitize ARGS``."""
    call(sanitize, sanitize_parser(), args)


def sanitize_parser() -> ArgumentParser:
    """The parser of the command's arguments and of its YAML files."""
    return function_parser(sanitize, "Undo what unlearning did to retained inputs.")


def sanitize(
    original: str,
    model: str,
    data: UnlearningDataModule,
    output: str,
    retain_split: str = "retain",
    rows: int = 128,
    energy: float = 0.95,
) -> None:
    """Write ``theta_0 + D (I - U U^T)`` for every matrix, where ``D`` is its change and ``U`` spans retained inputs.

    After any method. ``U`` are the principal axes of the matrix's inputs in the original model, on rows of the retain
    split; on inputs in their span, the matrix is again the original one. Embeddings, vectors and experts keep their
    change. Runs on the CPU; the folders are only read.

    Args:
        original: folder of the model before unlearning.
        model: folder of the unlearned model.
        data: data module with the retain split.
        output: folder to write.
        retain_split: name of the split.
        rows: number of its rows, the first ones.
        energy: share of the squared inputs that the axes hold, in (0, 1): more undoes more.

    Raises:
        ValueError: if the models differ in more than their weights, the split is missing, or a number is out of range.
    """
    if rows < 1:
        raise ValueError(f"rows={rows}; accepted: at least 1.")
    check_writable(Path(output).absolute().parent, "--output")
    check_same_kind(WeightsFolder(Path(original)), WeightsFolder(Path(model)))
    subject = Subject(original, data, retain_split, retain_split)
    subject.check()
    with quiet():
        directions = InputDirections(subject.build(), lambda: subject.answer_batches(subject.retain[:rows]), energy)
        combine_folders(original, model, output, cleaned(directions))
    print(f"Written to {output}")
