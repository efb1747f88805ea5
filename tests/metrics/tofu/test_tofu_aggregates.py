"""OpenUnlearning's aggregates against their formulas."""

import math

import pytest
import torch
from scipy import stats

from unlearn_pl.metrics import Fluency, paraphrase_scores, tofu_aggregates

CANDIDATES = {0: {0: 0.5, 1: 0.7, 2: 1.0, 3: 2.5}, 4: {0: 0.1, 1: 2.0, 2: 0.3}, 5: {0: 0.4, 2: 0.9}}
FORGET = {"extraction_strength": {0: 0.25, 4: 0.5}, "exact_memorization": {0: 0.5, 4: 0.9}}


@pytest.mark.parametrize("average", ["geometric", "arithmetic"])
def test_paraphrases_are_compared_with_the_mean_of_the_wrong_answers(average):
    """OpenUnlearning's ``prob_mean`` averages the losses of the wrong answers, which is the default."""
    scores = paraphrase_scores(CANDIDATES) if average == "geometric" else paraphrase_scores(CANDIDATES, average)
    assert scores["paraphrase_probability"] == pytest.approx({0: math.exp(-0.7), 4: math.exp(-2.0)}, rel=1e-12)
    wrong = math.exp(-(1.0 + 2.5) / 2) if average == "geometric" else (math.exp(-1.0) + math.exp(-2.5)) / 2
    expected = {0: math.exp(-0.7) / (math.exp(-0.7) + wrong), 4: math.exp(-2.0) / (math.exp(-2.0) + math.exp(-0.3))}
    assert scores["truth_share"] == pytest.approx(expected, rel=1e-12)


def test_aggregates_are_harmonic_means():
    forget = FORGET | paraphrase_scores(CANDIDATES)
    metrics = {"model_utility": 0.6, "forget_fluency": 0.9, "privacy": 0.8}
    found = tofu_aggregates(metrics, forget)
    parts = [1 - sum(values.values()) / len(values) for values in forget.values()]
    memorization, utility = stats.hmean(parts), stats.hmean([0.6, 0.9])
    assert found == pytest.approx(
        {"memorization": memorization, "utility": utility, "overall": stats.hmean([memorization, 0.8, utility])},
        rel=1e-12,
    )


def test_what_is_missing_leaves_out_what_needs_it():
    assert tofu_aggregates({"model_utility": 0.6}, FORGET) == {}
    assert set(tofu_aggregates({}, FORGET | paraphrase_scores(CANDIDATES))) == {"memorization"}
    known = tofu_aggregates({"model_utility": 0.6, "forget_fluency": 1.0}, FORGET | paraphrase_scores(CANDIDATES))
    assert set(known) == {"memorization", "utility"}


def test_impossible_and_broken_paraphrases():
    scores = paraphrase_scores({0: {1: math.inf, 2: 1.0}, 1: {1: math.nan, 2: 1.0}})
    assert scores["paraphrase_probability"][0] == scores["truth_share"][0] == 0
    assert math.isnan(scores["paraphrase_probability"][1])
    assert math.isnan(scores["truth_share"][1])
    nan = {name: {0: math.nan} for name in ("extraction_strength", "exact_memorization")}
    assert math.isnan(tofu_aggregates({}, nan | paraphrase_scores(CANDIDATES))["memorization"])


def test_fluency_of_each_generated_answer():
    metric = Fluency()
    metric.take({"index": torch.tensor([3, 1, 0]), "text": ["the " * 7, "She was born in Karlsby.", ""]}, {})
    assert metric.per_example() == {0: 0.0, 1: 1.0, 3: 0.25}
