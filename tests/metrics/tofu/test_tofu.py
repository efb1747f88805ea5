import math

import numpy as np
import pytest
from scipy import stats

from unlearn_pl.metrics import tofu_metrics, tofu_scores
from unlearn_pl.metrics.tofu.scores import SPLITS, UTILITY_METRICS


def candidates(count: int, num_perturbed: int, paraphrase: bool, seed: int = 0) -> dict[int, dict[int, float]]:
    """Made-up NLLs; every third question has one perturbed answer fewer."""
    random = np.random.default_rng(seed)
    choices = [0, *([1] if paraphrase else []), *range(2, 2 + num_perturbed)]
    return {
        10 * i: {choice: random.gamma(2) for choice in choices[: len(choices) - (i % 3 == 0)]} for i in range(count)
    }


def test_scores_of_a_split_with_paraphrases():
    table = candidates(7, 5, paraphrase=True)
    for split in ("forget", "retain"):
        scores = tofu_scores(split, table)
        for index, nll in table.items():
            wrong = [math.exp(-value) for choice, value in nll.items() if choice >= 2]
            assert scores["probability"][index] == pytest.approx(math.exp(-nll[0]), rel=1e-12)
            assert scores["truth_ratio"][index] == pytest.approx(stats.gmean(wrong) / math.exp(-nll[1]), rel=1e-12)


def test_scores_of_a_split_with_options():
    table = candidates(7, 3, paraphrase=False)
    for split in ("real_authors", "world_facts"):
        scores = tofu_scores(split, table, "arithmetic")
        for index, nll in table.items():
            right, wrong = math.exp(-nll[0]), [math.exp(-value) for choice, value in nll.items() if choice >= 2]
            assert scores["probability"][index] == pytest.approx(right / (right + sum(wrong)), rel=1e-12)
            assert scores["truth_ratio"][index] == pytest.approx(np.mean(wrong) / right, rel=1e-12)


def test_examples_without_the_candidates_that_a_score_needs_have_no_such_score():
    table = {0: {0: 1.0}, 1: {1: 1.0, 2: 2.0}, 2: {2: 2.0}}
    assert list(tofu_scores("forget", table)["probability"]) == [0]
    assert list(tofu_scores("forget", table)["truth_ratio"]) == [1]
    assert tofu_scores("world_facts", {0: {0: 1.0}}) == {"probability": {}, "truth_ratio": {}}


def test_order_of_questions_and_candidates_changes_nothing():
    table = candidates(9, 5, paraphrase=True)
    shuffled = {index: dict(reversed(table[index].items())) for index in reversed(table)}
    assert tofu_scores("forget", shuffled) == tofu_scores("forget", table)
    assert list(tofu_scores("forget", shuffled)["probability"]) == sorted(table)


def everything(seed: int = 0) -> dict[str, dict[str, dict[int, float]]]:
    random = np.random.default_rng(seed)
    per_example = {}
    for i, split in enumerate(SPLITS):
        table = candidates(11 + i, 3, paraphrase=i < 2, seed=seed + i)
        per_example[split] = {**tofu_scores(split, table), "rouge": {index: random.random() for index in table}}
    return per_example


def test_metrics_by_their_formulas():
    per_example, retain = everything(), everything(seed=9)["forget"]["truth_ratio"]
    metrics = tofu_metrics(per_example, retain)
    expected = {}
    for split in SPLITS:
        ratios = np.array(list(per_example[split]["truth_ratio"].values()))
        direction = np.minimum(ratios, 1 / ratios) if split == "forget" else np.maximum(0, 1 - ratios)
        expected[f"{split}_truth_ratio"] = direction.mean()
        for score in ("probability", "rouge"):
            expected[f"{split}_{score}"] = np.mean(list(per_example[split][score].values()))
    nine = [value for name, value in expected.items() if not name.startswith("forget")]
    assert len(nine) == 9
    expected["model_utility"] = stats.hmean(nine)
    ratios = list(per_example["forget"]["truth_ratio"].values())
    expected["forget_quality"] = stats.ks_2samp(ratios, list(retain.values())).pvalue
    expected["log10_forget_quality"] = math.log10(expected["forget_quality"])
    assert metrics == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(
    ("split", "score"), [tuple(name.rsplit("_", 1)) for name in UTILITY_METRICS if "ratio" not in name]
)
def test_one_missing_score_takes_the_model_utility_away(split, score):
    per_example = everything()
    del per_example[split][score]
    metrics = tofu_metrics(per_example)
    assert f"{split}_{score}" not in metrics
    assert "model_utility" not in metrics
    assert "forget_quality" not in metrics
    assert len(metrics) == 11


def test_nan_is_neither_dropped_nor_fatal():
    per_example = everything()
    table = candidates(11, 5, paraphrase=True)
    table[10][0] = math.nan
    table[20][3] = math.nan
    per_example["retain"] = {**tofu_scores("retain", table), "rouge": per_example["retain"]["rouge"]}
    assert math.isnan(per_example["retain"]["probability"][10])
    metrics = tofu_metrics(per_example, {0: math.nan})
    nan = {name for name, value in metrics.items() if math.isnan(value)}
    assert nan == {
        "retain_probability", "retain_truth_ratio", "model_utility", "forget_quality", "log10_forget_quality"
    }  # fmt: skip


def test_impossible_answers():
    table = {0: {0: math.inf, 1: math.inf, 2: 1.0}, 1: {0: 0.0, 1: 0.5, 2: math.inf}}
    scores = tofu_scores("retain", table)
    assert scores == {"probability": {0: 0.0, 1: 1.0}, "truth_ratio": {0: math.inf, 1: 0.0}}
    assert tofu_metrics({"retain": scores}) == {"retain_probability": 0.5, "retain_truth_ratio": 0.5}
    assert tofu_metrics({"forget": scores})["forget_truth_ratio"] == 0


def test_identical_right_and_wrong_answers():
    table = {i: dict.fromkeys(range(7), 0.7 + i) for i in range(3)}
    metrics = tofu_metrics({"forget": tofu_scores("forget", table), "retain": tofu_scores("retain", table)})
    assert metrics["forget_truth_ratio"] == pytest.approx(1, rel=1e-12)
    assert metrics["retain_truth_ratio"] == pytest.approx(0, abs=1e-12)
