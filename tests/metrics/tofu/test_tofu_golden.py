"""Published logs give the published numbers, through the code that live evaluation uses."""

import gzip
import json
import math
import os
from functools import cache
from pathlib import Path

import pytest

from unlearn_pl.metrics import paraphrase_scores, read_tofu_log, read_truth_ratios, tofu_metrics
from unlearn_pl.metrics.scores import mean_score

DATA = Path(os.environ.get("UNLEARN_PL_DATA", Path(__file__).parents[4] / "shared" / "data"))
GOLDEN = DATA / "golden" / "golden_tofu.json"
pytestmark = pytest.mark.skipif(not GOLDEN.is_file(), reason=f"benchmark files are not in {DATA} (UNLEARN_PL_DATA)")

MODELS = [
    f"tofu:{family}_{data}_wd0.01"
    for family in ("ft_epoch5_lr1e-05_llama2-7b", "ft_epoch5_lr2e-05_phi")
    for data in ("full", "retain90", "retain95", "retain99")
]
PAIRS = [
    (model, retain)
    for model in MODELS
    for retain in MODELS
    if model != retain and model.split("_")[3] == retain.split("_")[3] and "full" not in retain
]


@cache
def golden() -> dict:
    return json.loads(GOLDEN.read_text())


def log(model: str) -> Path:
    return DATA / "tofu_logs" / f"{model.removeprefix('tofu:')}.json.gz"


@pytest.mark.parametrize("model", [MODELS[0], MODELS[1]])
def test_truth_share_is_the_released_prob_mean(model):
    """OpenUnlearning: the mean of ``p / (p + p_wrong)``, from losses that are averaged over the wrong answers."""
    with gzip.open(log(model), "rt") as file:
        rows = json.load(file)["eval_log_forget.json"]
    right, wrong = rows["avg_paraphrased_loss"], rows["average_perturb_loss"]
    correct = {i: math.exp(-loss) for i, loss in right.items()}
    expected = [p / (p + math.exp(-sum(wrong[i]) / len(wrong[i]))) for i, p in correct.items()]
    arithmetic = [p / (p + sum(math.exp(-loss) for loss in wrong[i]) / len(wrong[i])) for i, p in correct.items()]
    candidates = {int(i): {1: right[i], **dict(enumerate(wrong[i], start=2))} for i in right}
    assert mean_score(paraphrase_scores(candidates)["truth_share"]) == pytest.approx(sum(expected) / 300, rel=1e-9)
    assert 0.009 < (sum(expected) - sum(arithmetic)) / 300 < 0.013  # what averaging probabilities would give


def test_all_golden_values_are_checked_here():
    assert set(golden()["model_utility"]) == set(MODELS)
    assert set(golden()["forget_quality"]) == {" || ".join(pair) for pair in PAIRS}
    assert (len(MODELS), len(PAIRS)) == (8, 18)


@pytest.mark.parametrize(
    ("average", "ratio", "utility"),
    [
        ("geometric", "truth_ratio_leaderboard", "model_utility"),
        ("arithmetic", "truth_ratio_arith", "model_utility_arith_truth_ratio"),
    ],
)
@pytest.mark.parametrize("model", MODELS)
def test_model_utility_and_its_parts(model, average, ratio, utility):
    expected = golden()["model_utility"][model]
    metrics = tofu_metrics(read_tofu_log(log(model), average))
    assert metrics["model_utility"] == pytest.approx(expected[utility], abs=1e-9)
    for split in ("forget", "retain", "real_authors", "world_facts"):
        assert metrics[f"{split}_probability"] == pytest.approx(expected[split]["prob"], abs=1e-9)
        assert metrics[f"{split}_rouge"] == pytest.approx(expected[split]["rougeL_recall"], abs=1e-9)
        assert metrics[f"{split}_truth_ratio"] == pytest.approx(expected[split][ratio], abs=1e-9)


@pytest.mark.parametrize(("model", "retain"), PAIRS)
def test_forget_quality(model, retain):
    expected = golden()["forget_quality"][f"{model} || {retain}"]
    metrics = tofu_metrics(read_tofu_log(log(model)), read_truth_ratios(log(retain)))
    assert metrics["log10_forget_quality"] == pytest.approx(expected["log10_forget_quality"], abs=1e-8)
    assert metrics["forget_quality"] == pytest.approx(expected["forget_quality"], rel=1e-8)


@pytest.mark.parametrize(("model", "retain"), PAIRS[:3])
def test_forget_quality_of_the_arithmetic_average(model, retain):
    expected = golden()["forget_quality"][f"{model} || {retain}"]["forget_quality_arith_ratio"]
    scores = {"forget": read_tofu_log(log(model), "arithmetic")["forget"]}
    metrics = tofu_metrics(scores, read_truth_ratios(log(retain), "arithmetic"))
    assert metrics["forget_quality"] == pytest.approx(expected, rel=1e-8)
