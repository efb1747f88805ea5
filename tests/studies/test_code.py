"""The study of code models, cut down."""

import json

import pytest

from experiments.studies.code import study as code
from experiments.studies.code.study import ARMS, Functions, Leakage, Viewed, print_table, study
from unlearn_pl.models import tiny_llama


def test_levels_are_read_between_epochs_on_a_logarithmic_scale():
    leakage = Leakage(None)
    leakage.course = [
        {"clean": 0.8, "mean": 0.9, "worst": 0.95, "retain": 1.0},
        {"clean": 0.4, "mean": 0.4, "worst": 0.8, "retain": 1.0},
        {"clean": 0.025, "mean": 0.1, "worst": 0.2, "retain": 0.25},
    ]
    found = leakage.at(0.1)  # half of the way from .4 to .025
    assert found == pytest.approx({"clean": 0.1, "mean": 0.2, "worst": 0.4, "retain": 0.5, "epochs": 2.5})
    assert leakage.at(0.01) is None


def test_leakage_is_that_of_the_views():
    data = Functions(None, 0, forget_functions=2, retain_functions=2, batch_size=2, micro_batch_size=2)
    viewed = Viewed(data, seed=0)
    found = viewed.leakage(tiny_llama(len(data.tokenizer), hidden_size=16, num_layers=1))
    assert [len(views) for views in viewed.views] == [code.VIEWS] * 2
    assert 0 < found["mean"] <= found["worst"] < 1
    assert 0 < found["clean"] < 1


def test_a_run_counts_what_it_has_scored(tmp_path, monkeypatch, capsys):
    """Levels that a model without training reaches at once after its first epochs."""
    monkeypatch.setattr(code, "EPOCHS", 3)
    monkeypatch.setattr(code, "LEVELS", (0.5,))
    courses = iter([0.9, 0.7, 0.3] * 2)

    def leakage(self, model):
        clean = next(courses, 0.3)
        return {"clean": clean, "mean": clean, "worst": clean, "retain": 1.0}

    monkeypatch.setattr(Viewed, "leakage", leakage)
    names = "worst of 8 views, period 1"
    study(str(tmp_path), seeds=1, names=names)
    first, second = (json.loads(line) for line in (tmp_path / "code.jsonl").read_text().splitlines())
    assert (first["arm"], second["arm"]) == ("target", names)
    at = second["levels"]["0.5"]
    assert 1 < at["epochs"] < 3
    assert at["scored"] == 8 * 10 * -(-at["epochs"] // 1)
    assert f"| {names} | 1 |" in capsys.readouterr().out
    study(str(tmp_path), seeds=1, names=names)  # nothing is run again
    assert len((tmp_path / "code.jsonl").read_text().splitlines()) == 2


def test_the_table_has_every_arm(capsys):
    at = {"clean": 0.1, "mean": 0.1, "worst": 0.2, "retain": 0.9, "epochs": 3.0, "scored": 8}
    print_table([{"arm": arm, "seed": 30, "seconds": 1.0, "levels": {"0.1": at, "0.01": None}} for arm in ARMS])
    assert capsys.readouterr().out.count("| 1 | 0.1000 |") == len(ARMS)
