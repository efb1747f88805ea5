"""TOFU's scores per example and its metrics, as functions of plain tables.

Evaluations, ``results.json`` files and published logs all use these functions, so they agree to the last digit.

Splits are ``forget``, ``retain``, ``real_authors`` and ``world_facts``. Candidates of a question are numbered:
0 is the answer, 1 its paraphrase (absent for real authors and world facts), 2 and above are perturbed, wrong answers.
"""

from collections.abc import Mapping

import torch

from unlearn_pl.functional import (
    answer_probability,
    forget_quality,
    forget_truth_ratio,
    log10_forget_quality,
    model_utility,
    probability_with_options,
    truth_ratio,
    utility_truth_ratio,
)
from unlearn_pl.functional.evaluation.tofu import TruthRatioAverage
from unlearn_pl.metrics.scores import Scores

ANSWER, PARAPHRASE, FIRST_PERTURBED = 0, 1, 2
SPLITS = ("forget", "retain", "real_authors", "world_facts")
SPLITS_WITH_OPTIONS = ("real_authors", "world_facts")
UTILITY_METRICS = tuple(
    f"{split}_{score}" for split in SPLITS if split != "forget" for score in ("probability", "rouge", "truth_ratio")
)
"""The nine metrics whose harmonic mean is the model utility."""


def tofu_scores(
    split: str, candidates: Mapping[int, Mapping[int, float]], average: TruthRatioAverage = "geometric"
) -> dict[str, dict[int, float]]:
    """``probability`` and ``truth_ratio`` per example of one split.

    The probability is that of the answer; for real authors and world facts, its share among the answer and the
    perturbed answers. The truth ratio compares the perturbed answers with the paraphrase, or with the answer if there
    is no paraphrase. An example has no score whose candidates are missing.

    Args:
        split: one of ``SPLITS``.
        candidates: index to candidate to length-normalized NLL.
        average: see :func:`~unlearn_pl.functional.truth_ratio`.

    Returns:
        Name of the score to index to value.
    """
    probability: dict[int, float] = {}
    ratio: dict[int, float] = {}
    for index, nlls in sorted(candidates.items()):
        nll = {choice: torch.tensor(value, dtype=torch.float64) for choice, value in nlls.items()}
        perturbed = [nll[choice] for choice in sorted(nll) if choice >= FIRST_PERTURBED]
        correct = nll.get(PARAPHRASE, nll.get(ANSWER))
        if perturbed and correct is not None:
            ratio[index] = truth_ratio(correct, torch.stack(perturbed), average).item()
        if ANSWER in nll and split not in SPLITS_WITH_OPTIONS:
            probability[index] = answer_probability(nll[ANSWER]).item()
        elif ANSWER in nll and perturbed:
            probability[index] = probability_with_options(nll[ANSWER], torch.stack(perturbed)).item()
    return {"probability": probability, "truth_ratio": ratio}


def tofu_metrics(
    per_example: Mapping[str, Scores], retain_ratios: Mapping[int, float] | None = None
) -> dict[str, float]:
    """TOFU's metrics from the scores per example.

    - ``{split}_probability``, ``{split}_rouge``: means over the split.
    - ``forget_truth_ratio``: :func:`~unlearn_pl.functional.forget_truth_ratio`, ``mean_i min(R_i, 1 / R_i)``.
    - ``{split}_truth_ratio`` of the others: :func:`~unlearn_pl.functional.utility_truth_ratio`,
      ``mean_i max(0, 1 - R_i)``.
    - ``forget_quality``: :func:`~unlearn_pl.functional.forget_quality` against the retain model's truth ratios, and
      ``log10_forget_quality``.
    - ``model_utility``: :func:`~unlearn_pl.functional.model_utility`, the harmonic mean of ``UTILITY_METRICS``.

    A metric is absent if its scores are; it is NaN if one of them is NaN.

    Args:
        per_example: split to score (``probability``, ``rouge``, ``truth_ratio``) to index to value.
        retain_ratios: index to truth ratio of the retain model on the forget questions.

    Returns:
        Name of the metric to value.
    """
    metrics: dict[str, float] = {}
    for split in (split for split in SPLITS if split in per_example):
        for score, values in per_example[split].items():
            if values:
                metrics[f"{split}_{score}"] = _aggregate(split, score, values)
    if retain_ratios and "forget_truth_ratio" in metrics:
        ratios = list(per_example["forget"]["truth_ratio"].values())
        quality = forget_quality(ratios, list(retain_ratios.values()))
        metrics |= {"forget_quality": quality, "log10_forget_quality": log10_forget_quality(quality)}
    if all(name in metrics for name in UTILITY_METRICS):
        metrics["model_utility"] = model_utility([metrics[name] for name in UTILITY_METRICS])
    return metrics


def _aggregate(split: str, score: str, values: Mapping[int, float]) -> float:
    numbers = torch.tensor([value for _, value in sorted(values.items())], dtype=torch.float64)
    if score != "truth_ratio":
        return numbers.mean().item()
    return (forget_truth_ratio if split == "forget" else utility_truth_ratio)(numbers).item()
