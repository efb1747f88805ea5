"""Reports on image classifiers, requests, several evaluations of a run, and runs that lack something."""

import re
from dataclasses import replace

import pytest
import yaml

from tests.report.made_up_runs import evaluation
from tests.report.page.made_up_folders import made_up_run
from tests.report.page.test_other_benchmarks import choices, of, written
from unlearn_pl.callbacks import (
    ClassificationEvaluation,
    MUSEEvaluation,
    RequestEvaluation,
    RWKUEvaluation,
    WMDPEvaluation,
)
from unlearn_pl.report import render, report_data
from unlearn_pl.report.page.charts import Chart
from unlearn_pl.results import read_results, write_results

RESAMPLES = 20


def images(folder, forget, start=None):
    table = {
        "forget": {"correct": forget, "entropy": of(*[1] * len(forget))},
        "retain": {"correct": of(1, 1, 0), "entropy": of(1, 2, 3)},
        "test": {"correct": of(1, 0, 0), "entropy": of(1, 2, 3)},
    }
    written(folder, ClassificationEvaluation, table)
    network = {"class_path": "unlearn_pl.models.MLP", "init_args": {"num_pixels": 36}}
    options = {"network": network, "weights": str(start / "hf") if start else None}
    model = {"class_path": "ImageClassifier", "init_args": options}
    goals = {"forget": {"class_path": "AtMost", "init_args": {"level": 0.1, "share": None, "loss": None}}}
    settings = {"model": {"init_args": {"model": model, "goals": goals}}}
    (folder / "config_fit.yaml").write_text(yaml.safe_dump(settings))
    return folder


@pytest.mark.parametrize(
    ("correct", "tone", "told"),
    [
        (1, "bad", "It is below the retain model's beyond chance: part of the forget set is left."),
        (0, "plain", "It is above the retain model's beyond chance: less is left than in a model that never saw"),
    ],
)
def test_many_wrong_images_are_no_trace_of_the_forget_set(tmp_path, correct, tone, told):
    retain = images(tmp_path / "retain", of(*[1 - correct] * 8))
    run = images(tmp_path / "run", of(*[correct] * 8))
    verdict = report_data([run], retain=str(retain), resamples=RESAMPLES)["runs"][0]["verdict"]
    (sentence,) = [one for one in verdict if one["metric"] == "unlearning_accuracy"]
    assert told in sentence["text"]
    assert sentence["tone"] == tone


def test_what_was_to_be_kept_is_not_listed_as_the_forget_set(tmp_path):
    data = report_data([images(tmp_path / "run", of(1, 0))], resamples=RESAMPLES)
    groups = {metric["name"]: metric["group"] for metric in data["metrics"]}
    assert groups["unlearning_accuracy"] == groups["forget_entropy"] == "forget"
    assert groups["retain_accuracy"] == groups["test_accuracy"] == "kept"
    assert groups["retain_entropy"] == groups["test_entropy"] == "retain"


def test_the_classifier_before_unlearning_is_found(tmp_path):
    start = images(tmp_path / "target", of(1, 1))
    data = report_data([images(tmp_path / "run", of(1, 0), start)], resamples=RESAMPLES)
    assert [(model["name"], model["role"]) for model in data["models"]] == [("target", "before"), ("run", "run")]


def test_a_page_on_images_does_not_speak_of_questions(tmp_path):
    data = report_data([images(tmp_path / "run", of(1, 0))], resamples=RESAMPLES)
    page = render(data).partition('id="report-data"')[0]
    assert "Every image" in page
    assert "95 % bootstrap intervals over the images" in page
    for text in ("texts of questions", "word for word</label>", "Every question", "95.0 %"):
        assert text not in page
    assert data["runs"][0]["goals"][0]["asked"] == "at most: level 0.1"


@pytest.fixture
def requests(tmp_path):
    table = {name: {"probability": of(0.2, 0.4), "exact_memorization": of(1, 0.5)} for name in ("a", "b")}
    run = written(tmp_path / "request", RequestEvaluation, table)
    (run / "results.json").rename(run / "results_requests.json")
    return run


def test_requests_have_a_headline(requests):
    data = report_data([requests / "results_requests.json"], resamples=RESAMPLES)
    texts = [one["text"] for one in data["runs"][0]["verdict"]]
    assert texts[0] == "Of 4 answers of the forget set, 2 are still given word for word."
    assert texts[1].startswith("Highest probability is 0.3 [")
    assert {metric["group"] for metric in data["metrics"]} == {"forget"}


def test_the_files_of_several_evaluations_are_named(requests):
    with pytest.raises(ValueError, match=r"no results\.json\. It has a file for each of several .*results_requests"):
        report_data([requests])


def test_results_of_any_name_are_compared_with_the_retain_model(tmp_path):
    retain = made_up_run(tmp_path / "retain", 9)
    run = made_up_run(tmp_path / "run", 1, retain)
    results = read_results(run / "results.json")
    files = [(folder / "results.json").rename(folder / "results_tofu.json") for folder in (retain, run)]
    config = {**results.config, "evaluation": evaluation(str(files[0]))}
    write_results(files[1], replace(results, config=config))
    data = report_data([files[1]], retain=str(files[0]), resamples=RESAMPLES)
    assert [model["role"] for model in data["models"]] == ["run", "retain"]


def test_the_model_before_is_found_among_several_evaluations(requests, tmp_path):
    later = tmp_path / "later"
    results = read_results(requests / "results_requests.json")
    write_results(later / "results_requests.json", results)
    settings = {"model": {"init_args": {"model": str(requests / "hf")}}}
    (later / "config_fit.yaml").write_text(yaml.safe_dump(settings))
    data = report_data([later / "results_requests.json"], resamples=RESAMPLES)
    assert [(model["name"], model["role"]) for model in data["models"]] == [("request", "before"), ("later", "run")]


def test_a_run_without_an_evaluation_gets_the_command(tmp_path):
    (tmp_path / "config_fit.yaml").write_text("model: {}")
    with pytest.raises(ValueError, match=r"`unlearn-pl test -c .*config_fit\.yaml --ckpt_path last` writes one"):
        report_data([tmp_path])


def test_missing_models_are_explained_where_they_matter(tmp_path):
    run = images(tmp_path / "run", of(1, 0))
    notes = report_data([run], resamples=RESAMPLES)["notes"]
    assert any("Train a model in the same way without the forget set" in note for note in notes)
    assert any("Evaluate the model that unlearning started from with unlearn-pl test" in note for note in notes)
    hazards = written(tmp_path / "hazards", WMDPEvaluation, choices(of(1, 0), of(1), of(1, 0)))
    notes = report_data([hazards], resamples=RESAMPLES)["notes"]
    assert not [note for note in notes if "retain model" in note]


def test_metrics_of_several_splits_stand_with_what_they_are_about(tmp_path):
    splits = [*(f"forget_level{i}" for i in (1, 2, 3)), "neighbor_level1", "neighbor_level2"]
    table = {split: {"rouge": of(0, 1)} for split in splits}
    data = report_data([written(tmp_path / "run", RWKUEvaluation, table)], resamples=RESAMPLES)
    groups = {metric["name"]: metric["group"] for metric in data["metrics"]}
    assert groups["forget_rouge"] == groups["forget_level1_rouge"] == "forget"
    assert groups["neighbor_rouge"] == groups["neighbor_level1_rouge"] == "kept"


def test_a_comparison_with_chance_is_told(tmp_path):
    table = {f"privleak_{kind}": {"min_k": of(*values)} for kind, values in MEMBERS.items()}
    data = report_data([written(tmp_path / "run", MUSEEvaluation, table)], resamples=RESAMPLES)
    assert "Without retain_results, privleak of run compared with chance, not with a retain model." in data["notes"]


MEMBERS = {"forget": (0.1, 0.3, 0.6), "retain": (0.1, 0.2, 0.5), "holdout": (0.4, 0.7, 0.9)}


def test_small_numbers_leave_room_for_the_label_and_steps_are_whole():
    lines = {"forget": [[1, 0.002450], [2, 0.002475], [3, 0.002452]]}
    svg = Chart("small", "Small", "optimizer step", "probability", lines).svg()
    labels = re.findall(r">([^<>]*)</text>", svg)
    assert "1e−3" in labels  # noqa: RUF001
    assert {"1", "2", "3"} <= set(labels)
    assert "1.5" not in labels
