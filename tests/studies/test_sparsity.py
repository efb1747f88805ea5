"""The study of sparsity, cut down: one arm of each kind on one problem, and the tables."""

import pytest

from experiments.studies.sparsity import digits, language, study
from experiments.studies.sparsity.digits import Problem, request_of
from unlearn_pl.data import ForgetClass, ForgetMislabeled, ForgetRandom


@pytest.fixture
def problem(tmp_path, monkeypatch):
    monkeypatch.setattr(digits, "MEMORIZING_STEPS", 3)
    monkeypatch.setattr(study, "UNLEARNING_STEPS", 2)
    made = Problem(tmp_path / "problem", "random rows", 0)
    made.prepare()
    for name in ("retrained", "sparse retrained"):
        made.evaluate(name)
    return made


def test_the_images_are_real_digits_and_no_image_is_in_two_sets():
    images, labels = digits.digits()
    assert images.shape == (5000, 14, 14)
    assert labels.bincount().tolist() == [500] * 10
    data = Problem("unused", "random rows", 1).data()
    assert [len(data.sets[name]) for name in ("forget", "retain", "test", "holdout")] == [60, 540, 1000, 500]


def test_every_arm_runs_and_is_tabulated(problem, capsys):
    arms = ["target", "sparse target", "FT", "l1 0.003", "FT sparse", "MOLLM with goals", "SalUn"]
    trials = [study.run(problem, arm) for arm in arms]
    by_name = {trial["arm"]: trial for trial in trials}
    assert by_name["l1 0.003"]["zeros"] is not None
    assert by_name["FT"]["zeros"] is None
    assert all(0 <= trial["gap"] <= 1 for trial in trials)
    study.print_tables(trials)
    printed = capsys.readouterr().out
    assert all(f"| {arm} | 1 |" in printed for arm in arms)


@pytest.mark.parametrize(
    ("scenario", "request_class"),
    [("one class", ForgetClass), ("random rows", ForgetRandom), ("wrong labels", ForgetMislabeled)],
)
def test_scenarios_are_requests(scenario, request_class):
    assert isinstance(request_of(scenario, 1), request_class)


def test_the_table_of_the_language_model(capsys):
    leaks = {name: {"forget": 0.1, "retain": 0.9} for name in language.ATTACKS}
    language.print_table([{"arm": "MOLLM, l1 0.4", "seed": seed, "moved": 0.5, "leaks": leaks} for seed in (0, 1)])
    assert "| MOLLM, l1 0.4 | 2 | 50.0 (0.0) | 0.10 (0.00) / 0.90 (0.00) |" in capsys.readouterr().out
