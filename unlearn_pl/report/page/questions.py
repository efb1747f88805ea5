"""The table of questions: scores and answers of every model."""

import math
from collections.abc import Mapping, Sequence
from statistics import fmean

from unlearn_pl.callbacks import EvaluationCallback
from unlearn_pl.printable import printable
from unlearn_pl.report.page.folder import RunFolder
from unlearn_pl.report.page.plain import number


def question_scores(cls: type[EvaluationCallback], models: Sequence[RunFolder]) -> dict[str, str]:
    """Split to the score that the table shows: that of the headline where the split has it, or its first one.

    A metric with the name of a split, such as MUSE's, is that of the score whose mean it is.

    Args:
        cls: class of the evaluation.
        models: of the table.
    """
    found: dict[str, str] = {}
    for model in models:
        metrics = [cls.headline.find(p, model.results.metrics) for p in (cls.headline.forgotten, cls.headline.kept)]
        for split, table in model.results.per_example.items():
            if split not in found and table:
                ends = [score for score in table for metric in metrics if metric and metric.endswith(f"_{score}")]
                ends += _scores_with_mean(table, model.results.metrics.get(split))
                found[split] = ends[0] if ends else next(iter(table))
    return found


def _scores_with_mean(table: Mapping[str, Mapping[int, float]], mean: float | None) -> list[str]:
    if mean is None:
        return []
    return [name for name, scores in table.items() if scores and math.isclose(fmean(scores.values()), mean)]


def question_rows(
    cls: type[EvaluationCallback], models: Sequence[RunFolder], limit: int
) -> tuple[list[dict[str, object]], int]:
    """Rows of the table, those of the forget set first, and how many are left out.

    Args:
        cls: class of the evaluation.
        models: columns, with different names.
        limit: largest number of rows.
    """
    scores = question_scores(cls, models)
    metrics = dict.fromkeys(name for model in models for name in model.results.metrics)
    keys = dict.fromkeys(
        (split, index)
        for model in models
        for split, score in scores.items()
        for index in model.results.per_example.get(split, {}).get(score, {})
    )
    keys.update(dict.fromkeys(key for model in models for key in model.predictions))
    forget = {split: cls.holds_forget_set(split, metrics) for split, _ in keys}
    ordered = sorted(keys, key=lambda key: not forget[key[0]])
    rows = [_row(cls, models, split, index, scores.get(split), forget[split]) for split, index in ordered[:limit]]
    return rows, max(0, len(ordered) - limit)


def _row(
    cls: type[EvaluationCallback], models: Sequence[RunFolder], split: str, index: int, score: str | None, forget: bool
) -> dict[str, object]:
    texts = [model.predictions[split, index] for model in models if (split, index) in model.predictions]
    tables = {model.name: model.results.per_example.get(split, {}) for model in models}
    exact = {name: table.get(cls.headline.verbatim, {}).get(index) for name, table in tables.items()}
    return {
        "split": printable(split),
        "index": index,
        "forget": forget,
        "question": next((text.question for text in texts if text.question), ""),
        "answer": next((text.answer for text in texts if text.answer), ""),
        "scores": {printable(name): number(table.get(score or "", {}).get(index)) for name, table in tables.items()},
        "verbatim": {printable(name): value >= 1 for name, value in exact.items() if value is not None},
        "given": {
            printable(model.name): model.predictions[split, index].prediction
            for model in models
            if (split, index) in model.predictions
        },
    }
