"""What the rows of an evaluation split ask, and the core of their answers."""

from collections.abc import Iterable, Sequence

import lightning.pytorch as pl

from unlearn_pl.data import ClozeChoice, EvaluationRow, UnlearningDataModule
from unlearn_pl.data.evaluation.evaluation_row import Question
from unlearn_pl.functional import core_span
from unlearn_pl.functional.evaluation.spans import find_span
from unlearn_pl.metrics import Asked
from unlearn_pl.modules.lightning_internals import attached_datamodule


def rows_of(trainer: pl.Trainer, split: str, reader: str) -> Sequence[EvaluationRow]:
    """The rows of an evaluation split.

    Args:
        trainer: about to evaluate.
        split: name of the split.
        reader: what reads them, for the message.

    Raises:
        ValueError: if the Trainer has no data module that knows them.
    """
    data = attached_datamodule(trainer)
    if not isinstance(data, UnlearningDataModule):
        raise ValueError(
            f"{reader} reads the questions of {split!r}, but the Trainer has no UnlearningDataModule; its data are a "
            f"{type(data).__name__}."
        )
    return data.evaluation_rows(split)


def cloze_lengths(trainer: pl.Trainer, loaders: Iterable[str] | None) -> dict[str, dict[int, list[int]]]:
    """Split to index of the row to the lengths of its options, for the splits of cloze questions.

    Args:
        trainer: about to evaluate.
        loaders: names of the dataloaders; None for none.
    """
    data = attached_datamodule(trainer)
    if not isinstance(data, UnlearningDataModule):
        return {}
    splits = {name: data.evaluation_rows(name) for name in loaders or () if not name.endswith(".generate")}
    found = {
        name: {index: row.lengths for index, row in enumerate(rows) if isinstance(row, ClozeChoice)}
        for name, rows in splits.items()
    }
    return {name: lengths for name, lengths in found.items() if lengths}


def answers_of(trainer: pl.Trainer, split: str, reader: str) -> dict[int, list[str]]:
    """Index of the row to all of its correct answers.

    Args:
        trainer: about to evaluate.
        split: name of the split, which holds questions.
        reader: what reads them, for the message.
    """
    found = {}
    for index, row in enumerate(rows_of(trainer, split, reader)):
        answer = row.row["answer"] if isinstance(row, Question) else row.expected()
        found[index] = [answer] if isinstance(answer, str) else list(answer)
    return found


def asked_of(rows: Sequence[EvaluationRow], split: str) -> dict[int, Asked]:
    """Index of the row to its question, answer and core.

    Args:
        rows: rows of a split.
        split: its name, for messages.

    Raises:
        ValueError: if the core that a row names is no part of its answer.
    """
    return {index: _asked(row, f"row {index} of the split {split!r}") for index, row in enumerate(rows)}


def core_of(row: EvaluationRow, where: str) -> tuple[int, int]:
    """Where the core of a row's answer is: the one that the row names, or else that of a rule.

    Args:
        row: with a question and an answer.
        where: its place, for messages.

    Raises:
        ValueError: if the core that it names is no part of the answer, or there is no answer.
    """
    span = row.span()
    try:
        return core_span(row.asked(), row.expected()) if span is None else find_span(row.expected(), span)
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from error


def _asked(row: EvaluationRow, where: str) -> Asked:
    first, end = core_of(row, where)
    return Asked(row.asked(), row.expected(), row.expected()[first:end])
