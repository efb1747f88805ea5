"""Comparison of an evaluation with that of a retain model."""

from collections.abc import Iterable
from typing import cast

import lightning.pytorch as pl

from unlearn_pl.callbacks.evaluation import Arguments, question_hashes
from unlearn_pl.functional import Compat
from unlearn_pl.metrics import membership_metrics, read_questions
from unlearn_pl.results import PerExample

Sides = tuple[str, str]
"""Names of the splits with the members and the non-members."""


def check_questions(trainer: pl.Trainer, path: str, splits: Iterable[str]) -> None:
    """Compare the questions of a ``results.json`` with those of the Trainer's data module, if both are known.

    Args:
        trainer: about to evaluate.
        path: results of the retain model.
        splits: the splits to compare.

    Raises:
        ValueError: if a question differs.
    """
    theirs, ours = read_questions(path), question_hashes(trainer)
    for split in splits:
        shared = theirs.get(split, {}).keys() & ours.get(split, {}).keys()
        if other := [i for i in shared if theirs[split][i] != ours[split][i]]:
            raise ValueError(
                f"{path!r} is about other {split} questions: {len(other)} of the {len(shared)} that both have differ. "
                "Evaluate the retain model on the same split of the same data."
            )


def membership_of(
    sides: Sides, per_example: PerExample, retain: PerExample | None, arguments: Arguments
) -> dict[str, float]:
    """:func:`~unlearn_pl.metrics.membership_metrics` of two splits, compared with the same splits of a retain model.

    Args:
        sides: names of the splits with the members and the non-members.
        per_example: split to score to index to value.
        retain: the same of the retain model; None to compare with ``retain_auc``, or else with chance.
        arguments: those of the callback; ``compat`` and ``retain_auc`` are read.
    """
    ours, theirs = ([table.get(split, {}) for split in sides] for table in (per_example, retain or {}))
    compat, published = cast(Compat, arguments.get("compat")), cast(float | None, arguments.get("retain_auc"))
    return membership_metrics(ours[0], ours[1], theirs[0], theirs[1], compat, published)


def check_retain_auc(retain_auc: float | None, retain_results: str | None) -> None:
    """Check the published AUC of a retain model.

    Args:
        retain_auc: the AUC; None for none.
        retain_results: results of a retain model, from which an AUC follows.

    Raises:
        ValueError: if it is not in ``[0, 1]``, or both are given.
    """
    if retain_auc is None:
        return
    if not 0 <= retain_auc <= 1:
        raise ValueError(f"retain_auc={retain_auc}; accepted is an AUC, from 0 to 1.")
    if retain_results is not None:
        raise ValueError(f"retain_auc={retain_auc} and retain_results={retain_results!r} are two; give one of them.")


def compares_with_chance(retain: PerExample | None, sides: Sides) -> bool:
    """Whether ``privleak`` compares with chance, because a retain model has no scores of the attack on both sides."""
    return not all((retain or {}).get(split, {}).get("min_k") for split in sides)
