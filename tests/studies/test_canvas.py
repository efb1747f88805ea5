"""The study of styles and objects, cut down: every arm on both requests, and the tables."""

import pytest

from experiments.studies.canvas import problem, study
from experiments.studies.canvas.problem import Problem


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(problem, "TARGET_STEPS", 2)
        patch.setattr(problem, "CLASSIFIER_STEPS", 2)
        made = Problem(tmp_path_factory.mktemp("canvas"), 0)
        made.prepare()
    return made


@pytest.mark.parametrize("request_name", ["style", "object"])
def test_every_arm_runs_and_is_tabulated(prepared, request_name, monkeypatch, capsys):
    monkeypatch.setattr(study, "STEPS", 1)
    monkeypatch.setattr(problem, "SAMPLE_SEEDS", (188,))
    arms = ["original", "SalUn", "ESD-x"] if request_name == "style" else ["sum, forget .5"]
    trials = [study.run(prepared, request_name, arm) for arm in arms]
    assert all(0 <= trial["unlearning_accuracy"] <= 1 for trial in trials)
    study.print_tables(trials)
    printed = capsys.readouterr().out
    assert all(f"| {arm} | 1 |" in printed for arm in arms)


def test_cells_are_means_and_spreads():
    runs = [{"unlearning_accuracy": 0.5, "fid": 3.0}, {"unlearning_accuracy": 1.0, "fid": 5.0}]
    assert study.cell(runs, "unlearning_accuracy") == "75.0 (35.4)"
    assert study.cell(runs, "fid") == "4.0 (1.4)"
    assert study.cell(runs[:1], "fid") == "3.0"
    assert study.cell(runs, "seconds") == "-"
