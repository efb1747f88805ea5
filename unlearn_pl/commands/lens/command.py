"""The command: a model and rows go in, a file of lenses comes out."""

from collections.abc import Sequence
from pathlib import Path

from jsonargparse import ArgumentParser

from unlearn_pl.commands.parser import call, function_parser
from unlearn_pl.commands.story import quiet
from unlearn_pl.data import EvaluationRow, UnlearningDataModule
from unlearn_pl.data.collate import collate_examples
from unlearn_pl.data.evaluation.datasets import CandidateDataset
from unlearn_pl.models.layers.lens import write_lens
from unlearn_pl.models.layers.lens_training import train_lens
from unlearn_pl.results import check_writable, weights_fingerprint
from unlearn_pl.robustness import Subject
from unlearn_pl.types import TokenBatch


def main(args: Sequence[str]) -> None:
    """Run ``unlearn-pl lens ARGS``."""
    call(lens, lens_parser(), args)


def lens_parser() -> ArgumentParser:
    """The parser of the command's arguments and of its YAML files."""
    return function_parser(lens, "Train lenses that read answers in the states of inner layers.")


def lens(
    model: str,
    data: UnlearningDataModule,
    output: str,
    layers: list[int] | None = None,
    forget_split: str = "forget",
    retain_split: str = "retain",
    rows: int = 512,
    epochs: int = 4,
    learning_rate: float = 1e-3,
    seed: int = 0,
) -> None:
    """Train an affine map per layer, after which the model's own norm and head predict the answers.

    On the questions and right answers of both splits, so that the lenses find what is to be forgotten where it is. The
    model is only read. Runs on the CPU.

    Args:
        model: folder of the model before unlearning.
        data: data module with the two splits.
        output: file to write.
        layers: from 1 to the last layer but one; all of them by default.
        forget_split: name of the split that is to be forgotten.
        retain_split: name of the split that is to be kept.
        rows: number of rows of each split, the first ones.
        epochs: how often each row is seen.
        learning_rate: of AdamW.
        seed: of the order of the rows.

    Raises:
        ValueError: if a split is missing, a number is out of range, or the logits of the model are not made by a norm
            and a linear head.
    """
    if rows < 1:
        raise ValueError(f"rows={rows}; accepted: at least 1.")
    check_writable(Path(output).absolute().parent, "--output")
    subject = Subject(model, data, forget_split, retain_split)
    subject.check()
    with quiet():
        built = subject.build()
        batches = labeled_batches(subject, [*subject.forget[:rows], *subject.retain[:rows]])
        trained, losses = train_lens(built, batches, layers, epochs, learning_rate, seed)
        made_by = {"rows": rows, "epochs": epochs, "learning_rate": learning_rate, "seed": seed}
        write_lens(output, trained, weights_fingerprint(built), made_by)
    for layer, (before, *_, after) in losses.items():
        print(f"layer {layer}: cross-entropy of an answer's token {before:.2f} -> {after:.2f}")
    print(f"Written to {output}")


def labeled_batches(subject: Subject, rows: Sequence[EvaluationRow]) -> list[TokenBatch]:
    """Questions with their right answers, of which the answers are labeled, in batches of the size of evaluations."""
    encoded = CandidateDataset("rows", list(rows), subject.encoder).right_answers()
    size, pad = subject.data.eval_batch_size, subject.tokenizer.pad_token_id or 0
    return [collate_examples(encoded[start : start + size], pad) for start in range(0, len(encoded), size)]
