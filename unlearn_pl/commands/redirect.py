"""``unlearn-pl redirect``: forget questions are led to where unknown ones are, by one refit matrix (LUNAR)."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import torch
from jsonargparse import ArgumentParser
from torch import Tensor

from unlearn_pl.commands.parser import call, function_parser
from unlearn_pl.commands.story import quiet
from unlearn_pl.data import EvaluationRow, UnlearningDataModule
from unlearn_pl.data.collate import collate_examples
from unlearn_pl.data.evaluation.datasets import CandidateDataset
from unlearn_pl.data.text.template import Example
from unlearn_pl.data.text.unknown_questions import UNKNOWN_QUESTIONS
from unlearn_pl.models.arithmetic.combine import Rule, combine_folders
from unlearn_pl.models.arithmetic.weights_folder import WeightsFolder
from unlearn_pl.models.layers.redirect import Batches, Redirection, check_options, refit
from unlearn_pl.results import check_writable
from unlearn_pl.robustness import Subject


def main(args: Sequence[str]) -> None:
    """Run ``unlearn-pl redirect ARGS``."""
    call(redirect, redirect_parser(), args)


def redirect_parser() -> ArgumentParser:
    """The parser of the command's arguments and of its YAML files."""
    return function_parser(redirect, "Forget without training, by a layer that is refit.")


def redirect(
    model: str,
    data: UnlearningDataModule,
    output: str,
    layers: list[int],
    factor: float = 2.0,
    forget_split: str = "forget",
    retain_split: str = "retain",
    references: str | None = None,
    answers: bool = False,
    rows: int = 512,
    ridge: float = 1e-4,
    retain_weight: float = 1.0,
) -> None:
    """Refit the output matrix of the MLP of some layers, so that forget questions look like unknown ones.

    Their tokens move by ``factor v``, where v leads from the mean state of the forget questions to that of questions
    whose answer the model cannot know; the tokens of retain questions stay, as far as one matrix can do both. No
    training: a closed form, from three passes over the questions. Runs on the CPU; the folder is only read.

    Args:
        model: folder of the model that is to forget.
        data: data module with the two splits.
        output: folder to write.
        layers: from 1 to the number of layers; the authors take one in the last third.
        factor: how far the forget tokens move; 0 changes nothing.
        forget_split: name of the split that is to be forgotten.
        retain_split: name of the split that is to be kept.
        references: text file with a question per line whose answer the model cannot know; by default, 20 questions
            about people and places that do not exist.
        answers: whether the right answers belong to what moves and what stays, and not the questions alone.
        rows: number of rows of each split, the first ones.
        ridge: how much the matrix holds on to what it was, relative to its inputs.
        retain_weight: weight of the retain tokens against the forget tokens.

    Raises:
        ValueError: if a split or a question is missing, a number is out of range, the model is quantized, or a layer
            has no matrix that can be refit; before anything is written.
    """
    check_options(layers, factor, ridge, retain_weight)
    if rows < 1:
        raise ValueError(f"rows={rows}; accepted: at least 1.")
    check_writable(Path(output).absolute().parent, "--output")
    _check_not_quantized(WeightsFolder(Path(model)))
    subject = Subject(model, data, forget_split, retain_split)
    subject.check()
    unknown = reference_questions(references)
    with quiet():
        built = subject.build()
        forget, retain = (questions(subject, of[:rows], answers) for of in (subject.forget, subject.retain))
        asked = prompts(subject, unknown)
        changes = refit(built, layers, forget, retain, asked, factor, ridge, retain_weight)
        combine_folders(model, model, output, added(changes, WeightsFolder(Path(model))))
    for change in changes:
        print(
            f"{change.name}: forget tokens are {change.forget_error**0.5:.2f} of their way short of the target, retain "
            f"tokens move {change.retain_error**0.5:.2f} of it"
        )
    print(f"Written to {output}")


def reference_questions(path: str | None) -> Sequence[str]:
    """The lines of a text file that are not empty; without a file, our own questions.

    Raises:
        ValueError: if there is no such file, or nothing in it.
    """
    if path is None:
        return UNKNOWN_QUESTIONS
    if not Path(path).is_file():
        raise ValueError(f"There is no file {path!r} with questions; accepted: a text file, one question per line.")
    try:
        lines = [line.strip() for line in Path(path).read_text(encoding="utf-8").splitlines()]
    except UnicodeDecodeError as error:
        raise ValueError(f"{path!r} is no text in UTF-8: {error}") from error
    if not any(lines):
        raise ValueError(f"{path!r} is empty; accepted: a text file, one question per line.")
    return [line for line in lines if line]


def questions(subject: Subject, rows: Sequence[EvaluationRow], answers: bool = False) -> Batches:
    """Batches of the questions of ``rows``, which end where the answers begin.

    Args:
        subject: encodes them.
        rows: of an evaluation split.
        answers: whether the right answers follow.

    Raises:
        ValueError: if a row has no question, such as a text.
    """
    if answers:
        return batches(subject, CandidateDataset("rows", list(rows), subject.encoder).right_answers())
    encoded = [row.prompt(subject.encoder) for row in rows]
    if None in encoded:
        text = rows[encoded.index(None)].content()[:40]
        raise ValueError(f"A row has no question: {text!r}. Accepted: splits with questions.")
    return batches(subject, [_prompt(ids) for ids in encoded if ids is not None])


def prompts(subject: Subject, asked: Sequence[str]) -> Batches:
    """Batches of questions without answers.

    Args:
        subject: encodes them.
        asked: the questions.
    """
    return batches(subject, [_prompt(subject.encoder.prompt(question)) for question in asked])


def batches(subject: Subject, examples: Sequence[Example]) -> Batches:
    """Batches of the size of evaluations, with the position of the last token of each question."""
    ordered, size = sorted(examples, key=len), subject.data.eval_batch_size
    pad = subject.tokenizer.pad_token_id or 0

    def make() -> Iterator[Mapping[str, Tensor]]:
        for start in range(0, len(ordered), size):
            chosen = ordered[start : start + size]
            batch = collate_examples(chosen, pad)
            last = torch.tensor([example.prompt_length - 1 for example in chosen])
            yield {"input_ids": batch["input_ids"], "attention_mask": batch["attention_mask"], "last": last}

    return make


def added(changes: Sequence[Redirection], folder: WeightsFolder) -> Rule:
    """The rule that adds the changes to the weights of a folder.

    Raises:
        ValueError: if the folder has another name for one of them, or another shape.
    """
    by_name = {change.name: change.change for change in changes}
    for name, change in by_name.items():
        if name not in folder.kinds or folder.kinds[name][1] != list(change.shape):
            raise ValueError(
                f"{str(folder.path)!r} has no tensor {name!r} of shape {list(change.shape)}; accepted: a folder that "
                "names its weights as the model does. Export it again with save_pretrained."
            )

    def rule(name: str, before: Tensor, after: Tensor) -> Tensor:
        return before.double() + by_name[name] if name in by_name else before

    return rule


def _prompt(ids: list[int]) -> Example:
    return Example(ids, len(ids))


def _check_not_quantized(folder: WeightsFolder) -> None:
    if folder.config.get("quantization_config"):
        raise ValueError(
            f"The weights in {str(folder.path)!r} are quantized; accepted: weights in 16 bits or more, as they were "
            "before."
        )
