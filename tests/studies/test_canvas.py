"""The study of styles and objects, cut down: every arm on both requests, and the tables."""

import pytest

from experiments.studies.canvas import attacked, problem, study
from experiments.studies.canvas.problem import Problem
from unlearn_pl.data import MiniCanvasDataModule
from unlearn_pl.robustness import TextualInversion


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


def test_models_are_attacked_once_and_tabulated(prepared, monkeypatch, capsys):
    monkeypatch.setattr(problem, "SAMPLE_SEEDS", (188,))
    monkeypatch.setattr(attacked, "TARGET_STEPS", 2)
    images = MiniCanvasDataModule(skip_per_pair=100, images_per_pair=1)
    monkeypatch.setattr(attacked, "attacks", lambda: [TextualInversion(images, count=2, steps=1)])
    options = {"folder": str(prepared.folder), "arms": "original;retrained", "requests": "style", "seeds": 1}
    attacked.study(**options)
    printed = capsys.readouterr().out
    assert (
        "| arm | Unattacked: forgotten | Unattacked: both | TextualInversion (2 images, 1 vectors): forgotten"
        in printed
    )
    table = [line for line in printed.splitlines() if line.startswith(("| original", "| retrained"))]
    assert len(table) == 2
    monkeypatch.setattr(TextualInversion, "run", None)  # nothing is repeated
    attacked.study(**options)
    assert all(line in capsys.readouterr().out for line in table[:1])
