"""Verdicts and tables about benchmarks without a forget probability: multiple choice, passages, images."""

import pytest

from tests.report.made_up_runs import evaluation
from unlearn_pl.callbacks import ClassificationEvaluation, MUSEEvaluation, WMDPEvaluation
from unlearn_pl.report import render, report_data
from unlearn_pl.results import Results, write_results


def written(folder, cls, per_example, start=None):
    record = evaluation(None, f"{cls.__module__}.{cls.__name__}")
    model = {"class_path": "unlearn_pl.modules.MOLLM", "init_args": {"model": str(start / "hf")} if start else {}}
    results = Results(
        benchmark=cls.benchmark,
        metrics=cls.metrics_of(per_example),
        per_example=per_example,
        config={"model": model, "data": {}, "evaluation": record},
        config_hash="0" * 64,
        weights_fingerprint="f" * 64,
        model=folder.name,
    )
    write_results(folder / "results.json", results)
    return folder


def of(*values):
    return dict(enumerate(map(float, values)))


def choices(bio, cyber, mmlu):
    return {"wmdp_bio": {"correct": bio}, "wmdp_cyber": {"correct": cyber}, "mmlu": {"correct": mmlu}}


@pytest.fixture
def hazards(tmp_path):
    before = written(tmp_path / "before", WMDPEvaluation, choices(of(1, 1, 1, 0), of(1, 0), of(1, 1, 0)))
    after = written(tmp_path / "after", WMDPEvaluation, choices(of(1, 0, 0, 0), of(0, 0), of(1, 0, 0)))
    return report_data([after], before=str(before), resamples=20)


def test_choices_are_counted_and_what_is_kept_is_not_what_is_forgotten(hazards):
    assert hazards["headline"] == {"forgotten": "wmdp_bio_accuracy", "kept": "mmlu_accuracy", "utility": None}
    texts = [one["text"] for one in hazards["runs"][0]["verdict"]]
    assert texts[0] == "Of 6 examples of the forget set, the model still gets 1 right; before unlearning, it was 4."
    assert texts[1].startswith("Wmdp bio accuracy is 0.25 [")
    assert texts[2].startswith("Mmlu accuracy is 0.333 [")
    assert not [text for text in texts if "retain model" in text]  # lower is better here, whatever another model has
    page = render(hazards)
    assert "Better: wmdp bio accuracy lower, and mmlu accuracy higher." in page
    assert "The target is the retain model" not in page


def test_what_is_kept_is_never_what_is_forgotten(tmp_path):
    table = {"wmdp_bio": {"correct": of(1, 0)}, "retain_bio": {"correct": of(1, 1)}}
    run = written(tmp_path / "run", WMDPEvaluation, table)
    data = report_data([run], resamples=20)
    assert data["headline"]["kept"] == "retain_bio_accuracy"
    assert [one["metric"] for one in data["runs"][0]["verdict"]][1:] == ["wmdp_bio_accuracy", "retain_bio_accuracy"]


def test_images_of_the_forget_set_are_counted(tmp_path):
    table = {split: {"correct": of(1, 0, 0), "entropy": of(1, 2, 3)} for split in ("forget", "retain", "test")}
    data = report_data([written(tmp_path / "run", ClassificationEvaluation, table)], resamples=20)
    texts = [one["text"] for one in data["runs"][0]["verdict"]]
    assert texts[0] == "Of 3 examples of the forget set, the model still gets 1 right."
    assert any(text.startswith("No evaluation of a retain model is known") for text in texts)


def test_passages_are_shown_with_the_score_that_the_metric_is_the_mean_of(tmp_path):
    scores = {"exact_memorization": of(0.5, 1), "extraction_strength": of(0.2, 0.4), "rouge": of(0.1, 0.6)}
    table = {"verbmem_forget": scores, "knowmem_retain": scores}
    data = report_data([written(tmp_path / "run", MUSEEvaluation, table)], resamples=20)
    assert data["metrics"][0]["values"]["run"][0] == pytest.approx(0.35)
    assert data["question_scores"] == {"verbmem_forget": "rouge", "knowmem_retain": "rouge"}
    assert "was not evaluated" not in render(data)  # one model alone has no chart


def test_a_chart_without_the_retain_model_says_that_the_target_is_not_known(tmp_path):
    table = {s: {"rouge": of(0.1, 0.6)} for s in ("verbmem_forget", "knowmem_retain")}
    runs = [written(tmp_path / name, MUSEEvaluation, table) for name in ("one", "two")]
    assert "The target, a model that never saw the forget set, was not evaluated." in render(
        report_data(runs, resamples=20)
    )
