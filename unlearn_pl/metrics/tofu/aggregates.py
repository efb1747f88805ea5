"""OpenUnlearning's aggregates of memorization, privacy and utility, from TOFU's metrics."""

import math
from collections.abc import Mapping

from unlearn_pl.functional import memorization_score, overall_score, utility_score
from unlearn_pl.functional.evaluation.tofu import TruthRatioAverage
from unlearn_pl.metrics.candidate_nll import CandidateTable
from unlearn_pl.metrics.scores import Scores, mean_score
from unlearn_pl.metrics.tofu.scores import PARAPHRASE, tofu_scores

_MEMORIZATION = ("extraction_strength", "exact_memorization", "paraphrase_probability", "truth_share")


def paraphrase_scores(
    candidates: CandidateTable, average: TruthRatioAverage = "geometric"
) -> dict[str, dict[int, float]]:
    """``paraphrase_probability`` and ``truth_share`` of every question with a paraphrased answer.

    The share is ``p / (p + p_wrong)``, of the paraphrased answer and the mean of the perturbed answers. The geometric
    mean is that of OpenUnlearning's released ``prob_mean``, which averages losses. (Results of earlier versions hold
    the share with the arithmetic mean, under the name ``paraphrase_share``.)

    Args:
        candidates: index to candidate to length-normalized NLL.
        average: see :func:`~unlearn_pl.functional.truth_ratio`.

    Returns:
        Name of the score to index to value.
    """
    paraphrased = {index: nlls for index, nlls in candidates.items() if PARAPHRASE in nlls}
    ratios = tofu_scores("forget", paraphrased, average)["truth_ratio"]
    return {
        "paraphrase_probability": {index: math.exp(-nlls[PARAPHRASE]) for index, nlls in paraphrased.items()},
        "truth_share": {index: 1 / (1 + ratio) for index, ratio in ratios.items()},
    }


def tofu_aggregates(metrics: Mapping[str, float], forget: Scores) -> dict[str, float]:
    """One number each for forgetting and for utility, and one overall; from 0 to 1, higher is better.

    - ``memorization``: :func:`~unlearn_pl.functional.memorization_score` of the forget set; high for a model that has
      forgotten.
    - ``utility``: :func:`~unlearn_pl.functional.utility_score` of ``model_utility`` and ``forget_fluency``, not
      relative to the model before unlearning. Not comparable with published values, whose fluency is a classifier's.
    - ``overall``: :func:`~unlearn_pl.functional.overall_score` of these two and ``privacy``.

    A number is absent if a metric that it needs is.

    Args:
        metrics: name to value, of the metrics that are known.
        forget: score to index to value on the forget set, those of :func:`paraphrase_scores` among them.

    Returns:
        Name to value.
    """
    found: dict[str, float] = {}
    if all(forget.get(name) for name in _MEMORIZATION):
        found["memorization"] = memorization_score(*(mean_score(forget[name]) for name in _MEMORIZATION))
    if {"model_utility", "forget_fluency"} <= metrics.keys():
        found["utility"] = utility_score(metrics["model_utility"], metrics["forget_fluency"])
    if {"memorization", "utility"} <= found.keys() and "privacy" in metrics:
        found["overall"] = overall_score(found["memorization"], metrics["privacy"], found["utility"])
    return found
