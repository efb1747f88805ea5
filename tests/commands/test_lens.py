"""`unlearn-pl lens`: a file that objectives read; the model is only read."""

from pathlib import Path

import pytest
import yaml

from tests.robustness.subjects import make_folder
from unlearn_pl.cli import main
from unlearn_pl.models.layers.lens import read_lens

SMALL = {
    "model": "original",
    "output": "lenses/lens.safetensors",
    "rows": 6,
    "epochs": 2,
    "data": {
        "class_path": "SyntheticAuthorsDataModule",
        "init_args": {"forget_authors": 1, "retain_authors": 1, "vocab_size": 400, "eval_batch_size": 4},
    },
}


@pytest.fixture
def recipe(tmp_path, monkeypatch) -> str:
    monkeypatch.chdir(tmp_path)
    make_folder(tmp_path / "original", num_layers=3)
    Path("recipe.yaml").write_text(yaml.safe_dump(SMALL))
    return "recipe.yaml"


def test_a_lens_per_inner_layer_is_written_and_what_it_reads_is_printed(recipe, capsys):
    before = Path("original/model.safetensors").read_bytes()
    main(["lens", "-c", recipe, "--learning_rate", "0.01"])
    printed = capsys.readouterr().out
    for layer in (1, 2):
        [line] = [line for line in printed.splitlines() if line.startswith(f"layer {layer}:")]
        first, last = (float(part) for part in line.rpartition("token ")[2].split(" -> "))
        assert last < first
    lens = read_lens(SMALL["output"])
    assert sorted(lens.maps) == [1, 2]
    assert lens.maps[1][0].shape == (16, 16)
    assert Path("original/model.safetensors").read_bytes() == before
    main(["lens", "-c", recipe, "--layers", "[2]"])
    assert sorted(read_lens(SMALL["output"]).maps) == [2]


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("--rows=0", "rows=0"),
        ("--epochs=0", "epochs=0"),
        ("--layers=[3]", "layers from 1 to 2"),
        ("--forget_split=other", "no split 'other'"),
        ("--model=nowhere", "no model in 'nowhere'"),
    ],
)
def test_bad_arguments_write_nothing(recipe, capsys, argument, message):
    with pytest.raises(SystemExit):
        main(["lens", "-c", recipe, argument])
    assert message in capsys.readouterr().err
    assert not Path(SMALL["output"]).exists()
