"""`unlearn-pl extrapolate`: one model and one evaluation per factor."""

import json
from pathlib import Path

import pytest
import yaml

from tests.robustness.subjects import make_folder
from unlearn_pl.cli import main

SMALL = {
    "original": "original",
    "trained": "trained",
    "factor": [0.5, 1.0],
    "output": "out",
    "accelerator": "cpu",
    "data": {
        "class_path": "SyntheticAuthorsDataModule",
        "init_args": {"forget_authors": 1, "retain_authors": 1, "vocab_size": 400, "max_eval_examples": 2},
    },
    "evaluations": [{"class_path": "QAEvaluation"}],
}


@pytest.fixture
def recipe(tmp_path, monkeypatch) -> str:
    monkeypatch.chdir(tmp_path)
    make_folder(tmp_path / "original")
    make_folder(tmp_path / "trained", seed=1)
    Path("recipe.yaml").write_text(yaml.safe_dump(SMALL))
    return "recipe.yaml"


def test_every_factor_gets_a_model_and_results(recipe, capsys):
    before = {path: path.read_bytes() for folder in ("original", "trained") for path in Path(folder).iterdir()}
    main(["extrapolate", "-c", recipe])
    assert "Written to out/0.5/hf" in capsys.readouterr().out
    results = [json.loads(Path(f"out/{factor}/results.json").read_text()) for factor in ("0.5", "1.0")]
    assert results[0]["weights_fingerprint"] != results[1]["weights_fingerprint"]
    assert all(0 < found["metrics"]["forget_probability"] < 1 for found in results)
    assert {path: path.read_bytes() for folder in ("original", "trained") for path in Path(folder).iterdir()} == before


def test_models_alone_need_no_data(recipe):
    main(["extrapolate", "--original", "original", "--trained", "trained", "--factor", "[2]", "--output", "alone"])
    assert (Path("alone") / "2.0" / "hf" / "model.safetensors").is_file()
    assert not (Path("alone") / "2.0" / "results.json").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--data=null"], "The evaluations need data"),
        (["--factor=[]"], "accepted: at least one number"),
        (["--factor=[1, 1]"], "none of them twice"),
        (["--factor=[.inf]"], "accepted: a finite number"),
        (["--trained=nowhere"], "holds no config.json"),
    ],
)
def test_bad_arguments_are_one_line_and_write_nothing(recipe, capsys, arguments, message):
    with pytest.raises(SystemExit):
        main(["extrapolate", "-c", recipe, *arguments])
    assert message in capsys.readouterr().err.splitlines()[-1]
    assert not list(Path("out").glob("*/hf"))
