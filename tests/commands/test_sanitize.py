"""`unlearn-pl sanitize`: a third model between two that are only read."""

from pathlib import Path

import pytest
import yaml
from safetensors.torch import load_file

from tests.robustness.subjects import make_folder
from unlearn_pl.cli import main

SMALL = {
    "original": "original",
    "model": "unlearned",
    "output": "out",
    "rows": 4,
    "data": {
        "class_path": "SyntheticAuthorsDataModule",
        "init_args": {"forget_authors": 1, "retain_authors": 1, "vocab_size": 400},
    },
}


@pytest.fixture
def recipe(tmp_path, monkeypatch) -> str:
    monkeypatch.chdir(tmp_path)
    make_folder(tmp_path / "original")
    make_folder(tmp_path / "unlearned", seed=1)
    Path("recipe.yaml").write_text(yaml.safe_dump(SMALL))
    return "recipe.yaml"


def test_matrices_are_cleaned_and_the_rest_is_the_unlearned_model(recipe, capsys):
    main(["sanitize", "-c", recipe, "--energy", "0.5"])
    assert "Written to out" in capsys.readouterr().out
    before, after, new = (load_file(Path(name) / "model.safetensors") for name in ("original", "unlearned", "out"))
    for name, tensor in new.items():
        if "layers" in name and "proj" in name:
            full, left = (after[name] - before[name]).norm(), (tensor - before[name]).norm()
            assert 0 < left < full, name
        elif "embed" in name:
            assert tensor.equal(after[name])


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("--rows=0", "rows=0"),
        ("--energy=1", "energy=1"),
        ("--retain_split=other", "no split 'other'"),
        ("--model=nowhere", "no config.json"),
        ("--output=original", "a folder that is read"),
    ],
)
def test_bad_arguments_write_nothing(recipe, capsys, argument, message):
    with pytest.raises(SystemExit):
        main(["sanitize", "-c", recipe, argument])
    assert message in capsys.readouterr().err
    assert not Path("out").exists()
