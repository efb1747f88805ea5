"""``unlearn-pl sanitize``: what a change of the weights does to retained inputs is taken out of it (SAGE)."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import torch
from jsonargparse import ArgumentParser
from torch import Tensor

from unlearn_pl.attribution.input_directions import InputDirections
from unlearn_pl.commands.parser import UpgradingParser, add_config_argument, current_arguments
from unlearn_pl.commands.story import quiet
from unlearn_pl.data import UnlearningDataModule
from unlearn_pl.data.collate import collate_examples
from unlearn_pl.data.evaluation.datasets import CandidateDataset
from unlearn_pl.masking import check_unmasked
from unlearn_pl.models.arithmetic.combine import Rule, check_same_kind, combine_folders
from unlearn_pl.models.arithmetic.weights_folder import WeightsFolder
from unlearn_pl.results import check_writable
from unlearn_pl.robustness import Subject


def main(args: Sequence[str]) -> None:
    """Run ``unlearn-pl sanitize ARGS``."""
    parser = sanitize_parser()
    config = parser.parse_args(current_arguments(args))
    check_unmasked(config)
    given = parser.instantiate_classes(config).as_dict()
    sanitize(**{name: value for name, value in given.items() if name != "config"})


def sanitize_parser() -> ArgumentParser:
    """The parser of the command's arguments and of its YAML files."""
    parser = UpgradingParser(prog="unlearn-pl sanitize", description="Undo what unlearning did to retained inputs.")
    add_config_argument(parser)
    parser.add_function_arguments(sanitize, fail_untyped=True)
    return parser


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
        directions = InputDirections(subject.build(), lambda: _batches(subject, rows), energy)
        combine_folders(original, model, output, cleaned(directions))
    print(f"Written to {output}")


def cleaned(directions: InputDirections) -> Rule:
    """The rule for a weight: its change without the part that acts on the dominant directions of its inputs.

    Args:
        directions: of the inputs of the matrices.

    References:
        SAGE, arXiv 2606.18309.
    """

    def rule(name: str, before: Tensor, after: Tensor) -> Tensor:
        matrix = directions.matrices.get(name)
        if matrix is None:
            return after
        axes = directions.of(matrix)
        change = (after.float() - before.float()).movedim(matrix.input_dim, -1)
        kept = change - (change @ axes) @ axes.T
        return before.float() + kept.movedim(-1, matrix.input_dim)

    return rule


def _batches(subject: Subject, rows: int) -> Iterator[Mapping[str, Tensor]]:
    """Questions and answers of the retain split, as the model reads them."""
    encoded = CandidateDataset("retain", subject.retain[:rows], subject.encoder).right_answers()
    size, pad = subject.data.eval_batch_size, subject.tokenizer.pad_token_id or 0
    for start in range(0, len(encoded), size):
        batch = collate_examples([encoded[i] for i in range(start, min(start + size, len(encoded)))], pad)
        yield {name: torch.as_tensor(batch[name]) for name in ("input_ids", "attention_mask")}
