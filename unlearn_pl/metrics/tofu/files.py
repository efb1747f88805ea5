"""TOFU scores from files: ``results.json``, and published logs of other code."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from unlearn_pl.functional.evaluation.tofu import TruthRatioAverage
from unlearn_pl.metrics.candidate_nll import CandidateTable
from unlearn_pl.metrics.tofu.scores import ANSWER, FIRST_PERTURBED, PARAPHRASE, tofu_scores
from unlearn_pl.results import Results, evaluation_arguments, read_json, read_results

LOG_NAMES = {
    "forget": "eval_log_forget.json",
    "retain": "eval_log.json",
    "real_authors": "eval_real_author_wo_options.json",
    "world_facts": "eval_real_world_wo_options.json",
}
"""Split to its key in the aggregated logs of TOFU's authors."""

OPEN_UNLEARNING_NAMES = ("forget_truth_ratio", "forget_Truth_Ratio")
"""Keys under which OpenUnlearning has stored the truth ratios of the forget set."""


def read_truth_ratios(path: str | Path, average: TruthRatioAverage = "geometric") -> dict[int, float]:
    """A model's truth ratios on the forget questions, ``R = p(perturbed) / p(paraphrased)`` whatever the file.

    Args:
        path: a ``results.json`` of :class:`~unlearn_pl.callbacks.TOFUEvaluation`, an ``eval_log_aggregated.json`` of
            TOFU's authors or a ``TOFU_EVAL.json`` of OpenUnlearning (which adds 1e-10 to the denominator); plain or
            gzipped (``.gz``).
        average: the mean over perturbed answers that the ratios must have been computed with.

    Returns:
        Index of the question to truth ratio.

    Raises:
        ValueError: if the file is none of these, is damaged, or holds truth ratios of another average.
    """
    content = read_json(path)
    if "schema_version" in content:
        ratios, stored_average = _ratios_of(read_results(path), str(path))
    elif LOG_NAMES["forget"] in content:
        ratios, stored_average = read_tofu_log(path, average)["forget"]["truth_ratio"], average
    elif name := next((name for name in OPEN_UNLEARNING_NAMES if name in content), None):
        ratios, stored_average = _open_unlearning_ratios(content[name], str(path)), "geometric"
    else:
        raise ValueError(
            f"{str(path)!r} holds no truth ratios of the forget set. Accepted are a results.json of TOFUEvaluation, an "
            f"eval_log_aggregated.json of TOFU's authors and a TOFU_EVAL.json of OpenUnlearning; its keys are "
            f"{sorted(content)[:10]}."
        )
    if stored_average != average:
        raise ValueError(
            f"{str(path)!r} holds truth ratios of the {stored_average} average, but {average} was requested."
        )
    return ratios


def read_questions(path: str | Path) -> dict[str, dict[int, str]]:
    """Split to index to hash of the questions of a ``results.json``; empty for files without such hashes."""
    content = read_json(path)
    if "schema_version" not in content:
        return {}
    return {split: dict(table) for split, table in read_results(path).questions.items()}


def read_tofu_log(path: str | Path, average: TruthRatioAverage = "geometric") -> dict[str, dict[str, dict[int, float]]]:
    """The scores in a log of TOFU's authors, as :func:`~unlearn_pl.metrics.tofu_metrics` takes them.

    Args:
        path: an ``eval_log_aggregated.json``, plain or gzipped.
        average: see :func:`~unlearn_pl.functional.truth_ratio`.

    Returns:
        Split to score (``probability``, ``truth_ratio``, ``rouge``) to row to value.

    Raises:
        ValueError: if the file is no such log.
    """
    content = read_json(path)
    try:
        return {split: _log_scores(split, content[key], average) for split, key in LOG_NAMES.items() if key in content}
    except (LookupError, TypeError, AttributeError, ValueError, ArithmeticError, RuntimeError) as error:
        raise ValueError(f"{str(path)!r} is not an eval_log_aggregated.json of TOFU's authors: {error!r}.") from error


def _log_scores(split: str, log: Mapping[str, Any], average: TruthRatioAverage) -> dict[str, dict[int, float]]:
    candidates: CandidateTable = {}
    for row, answer_nll in log["avg_gt_loss"].items():
        perturbed = enumerate(log["average_perturb_loss"][row], start=FIRST_PERTURBED)
        candidates[int(row)] = {ANSWER: answer_nll, PARAPHRASE: log["avg_paraphrased_loss"][row], **dict(perturbed)}
    rouge = {int(row): recall for row, recall in log["rougeL_recall"].items()}
    return {**tofu_scores(split, candidates, average), "rouge": rouge}


def _ratios_of(results: Results, path: str) -> tuple[dict[int, float], object]:
    ratios = results.per_example.get("forget", {}).get("truth_ratio", {})
    if not ratios:
        splits = ", ".join(results.per_example) or "none"
        raise ValueError(f"{path!r} holds no truth ratios of the forget set; its splits: {splits}.")
    return dict(ratios), evaluation_arguments(results).get("truth_ratio_average", "geometric")


def _open_unlearning_ratios(metric: Any, path: str) -> dict[int, float]:
    try:
        ratios = {int(index): float(entry["score"]) for index, entry in metric["value_by_index"].items()}
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise ValueError(
            f"{path!r} looks like a file of OpenUnlearning, but has no value_by_index with a score per question "
            f"({error!r}). Give the TOFU_EVAL.json, not the TOFU_SUMMARY.json."
        ) from error
    if not ratios:
        raise ValueError(f"{path!r} holds an empty value_by_index.")
    return ratios
