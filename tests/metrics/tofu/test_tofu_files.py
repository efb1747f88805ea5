import gzip
import json
import math

import pytest

from unlearn_pl.metrics import read_tofu_log, read_truth_ratios
from unlearn_pl.results import Results, write_results

RATIOS = {0: 0.5, 1: 2.0, 5: 1.25}


def tofu_log() -> dict:
    """What TOFU's authors store, made up so that the ratios are those above."""
    return {
        "eval_log_forget.json": {
            "avg_gt_loss": {str(i): 0.1 * i for i in RATIOS},
            "avg_paraphrased_loss": {str(i): math.log(ratio) + 2 for i, ratio in RATIOS.items()},
            "average_perturb_loss": {str(i): [1.0, 2.0, 3.0] for i in RATIOS},
            "rougeL_recall": {str(i): 0.2 * i for i in RATIOS},
            "generated_text": {},
        }
    }


def open_unlearning(name: str) -> dict:
    by_index = {str(i): {"score": ratio} for i, ratio in RATIOS.items()}
    return {"forget_Q_A_Prob": {"agg_value": 0.5}, name: {"agg_value": 0.6, "value_by_index": by_index}}


def results(config: dict | None = None, per_example: dict | None = None) -> Results:
    per_example = {"forget": {"truth_ratio": RATIOS}} if per_example is None else per_example
    return Results("tofu", {}, per_example, config or {}, "hash", "fingerprint", "tiny")


@pytest.mark.parametrize(
    "content", [tofu_log(), open_unlearning("forget_truth_ratio"), open_unlearning("forget_Truth_Ratio")]
)
@pytest.mark.parametrize("suffix", [".json", ".json.gz"])
def test_all_published_kinds_give_the_same_ratios(tmp_path, content, suffix):
    path = tmp_path / f"retain{suffix}"
    text = json.dumps(content).encode()
    path.write_bytes(gzip.compress(text) if suffix.endswith("gz") else text)
    assert read_truth_ratios(path) == pytest.approx(RATIOS, rel=1e-12)


def test_our_results_give_their_ratios(tmp_path):
    write_results(tmp_path / "results.json", results())
    assert read_truth_ratios(str(tmp_path / "results.json")) == RATIOS


def test_the_log_of_the_authors_becomes_scores(tmp_path):
    (tmp_path / "log.json").write_text(json.dumps(tofu_log()))
    scores = read_tofu_log(tmp_path / "log.json")
    assert list(scores) == ["forget"]
    assert scores["forget"]["rouge"] == {0: 0.0, 1: 0.2, 5: 1.0}
    assert scores["forget"]["probability"] == pytest.approx({i: math.exp(-0.1 * i) for i in RATIOS}, rel=1e-12)


def test_the_averages_do_not_mix(tmp_path):
    arithmetic = {"evaluation": {"class_path": "x", "init_args": {"truth_ratio_average": "arithmetic"}}}
    write_results(tmp_path / "results.json", results(arithmetic))
    (tmp_path / "TOFU_EVAL.json").write_text(json.dumps(open_unlearning("forget_truth_ratio")))
    assert read_truth_ratios(tmp_path / "results.json", "arithmetic") == RATIOS
    with pytest.raises(ValueError, match="of the arithmetic average, but geometric was requested"):
        read_truth_ratios(tmp_path / "results.json")
    with pytest.raises(ValueError, match="of the geometric average, but arithmetic was requested"):
        read_truth_ratios(tmp_path / "TOFU_EVAL.json", "arithmetic")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"model_utility": 0.6}, r"Accepted are .*eval_log_aggregated.*TOFU_EVAL.*keys are \['model_utility'\]"),
        ({"forget_truth_ratio": 0.7}, r"TOFU_EVAL\.json, not the TOFU_SUMMARY\.json"),
        ({"forget_truth_ratio": {"value_by_index": {"0": {"prob": 1}}}}, "score"),
        ({"forget_truth_ratio": {"value_by_index": {}}}, "empty value_by_index"),
        ({"eval_log_forget.json": {"avg_gt_loss": {"0": 1.0}}}, "is not an eval_log_aggregated.json"),
        ({"schema_version": 1}, "not a complete results.json"),
    ],
)
def test_other_files_are_refused_with_a_reason(tmp_path, content, message):
    (tmp_path / "file.json").write_text(json.dumps(content))
    with pytest.raises(ValueError, match=message):
        read_truth_ratios(tmp_path / "file.json")


def test_results_of_another_evaluation_are_refused(tmp_path):
    write_results(tmp_path / "results.json", results(per_example={"retain": {"truth_ratio": RATIOS}}))
    with pytest.raises(ValueError, match="no truth ratios of the forget set; its splits: retain"):
        read_truth_ratios(tmp_path / "results.json")


def test_missing_files_are_named(tmp_path):
    with pytest.raises(ValueError, match=r"no file .*nowhere\.json"):
        read_truth_ratios(tmp_path / "nowhere.json")
