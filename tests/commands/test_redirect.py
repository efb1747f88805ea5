"""`unlearn-pl redirect`: a model whose forget questions are where unknown ones are; the original is only read."""

import json
from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file

from tests.robustness.subjects import authors, make_folder, subject
from unlearn_pl.cli import main
from unlearn_pl.commands.redirect import questions, reference_questions
from unlearn_pl.models import CausalLM
from unlearn_pl.models.layers.redirect import refit

NAME = "model.layers.0.mlp.down_proj.weight"
SMALL = {
    "model": "original",
    "output": "out",
    "layers": [1],
    "rows": 6,
    "data": {
        "class_path": "SyntheticAuthorsDataModule",
        "init_args": {"forget_authors": 1, "retain_authors": 1, "vocab_size": 400},
    },
}


@pytest.fixture
def recipe(tmp_path, monkeypatch) -> str:
    monkeypatch.chdir(tmp_path)
    make_folder(tmp_path / "original")
    Path("recipe.yaml").write_text(yaml.safe_dump(SMALL))
    return "recipe.yaml"


def weights(name):
    return load_file(Path(name) / "model.safetensors")


def test_one_matrix_is_refit_and_the_rest_copied(recipe, capsys):
    main(["redirect", "-c", recipe])
    printed = capsys.readouterr().out
    assert f"{NAME}: forget tokens are" in printed
    assert "Written to out" in printed
    before, new = weights("original"), weights("out")
    assert {name for name in before if not torch.equal(before[name], new[name])} == {NAME}
    assert Path("out/tokenizer.json").read_bytes() == Path("original/tokenizer.json").read_bytes()
    assert CausalLM("out").build().config.hidden_size == 16


def test_the_written_matrix_is_that_of_the_function(recipe):
    main(["redirect", "-c", recipe, "--factor", "3", "--answers", "true", "--retain_weight", "0.5"])
    target = subject("original", data=authors())
    model = target.build()
    forget, retain = (questions(target, rows[:6], answers=True) for rows in (target.forget, target.retain))
    unknown = [target.encoder.prompt(question) for question in reference_questions(None)]

    def references():
        for ids in unknown:
            yield {"input_ids": torch.tensor([ids]), "attention_mask": torch.ones(1, len(ids), dtype=torch.long)}

    refit(model, [1], forget, retain, references, factor=3.0, retain_weight=0.5)
    torch.testing.assert_close(weights("out")[NAME], model.get_parameter(NAME).detach(), rtol=1e-5, atol=1e-6)


def test_a_factor_of_0_writes_the_same_weights(recipe):
    main(["redirect", "-c", recipe, "--factor", "0"])
    before, new = weights("original"), weights("out")
    assert all(torch.equal(before[name], new[name]) for name in before)


def test_references_are_the_lines_of_a_file(recipe):
    Path("unknown.txt").write_text("Who is Zorvath?\n\nWhere is Quelm?\n")
    assert reference_questions("unknown.txt") == ["Who is Zorvath?", "Where is Quelm?"]
    main(["redirect", "-c", recipe])
    default = weights("out")[NAME]
    main(["redirect", "-c", recipe, "--references", "unknown.txt"])
    assert not torch.equal(weights("out")[NAME], default)


def test_quantized_weights_and_other_names_are_errors(recipe, capsys):
    config = json.loads(Path("original/config.json").read_text())
    Path("original/config.json").write_text(json.dumps(config | {"quantization_config": {"bits": 4}}))
    with pytest.raises(SystemExit):
        main(["redirect", "-c", recipe])
    assert "are quantized" in capsys.readouterr().err
    Path("original/config.json").write_text(json.dumps(config))
    held = {name.removeprefix("model."): tensor for name, tensor in weights("original").items()}
    save_file(held, "original/model.safetensors", metadata={"format": "pt"})
    with pytest.raises(SystemExit):
        main(["redirect", "-c", recipe])
    assert f"has no tensor '{NAME}'" in capsys.readouterr().err
    assert not Path("out").exists()


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("--rows=0", "rows=0"),
        ("--ridge=0", "ridge=0"),
        ("--layers=[2]", "has 1 layers"),
        ("--layers=[]", "at least one"),
        ("--retain_split=other", "no split 'other'"),
        ("--references=nowhere.txt", "no file 'nowhere.txt'"),
        ("--references=recipe.empty", "is empty"),
        ("--model=nowhere", "no config.json"),
        ("--output=original", "a folder that is read"),
    ],
)
def test_bad_arguments_write_nothing(recipe, capsys, argument, message):
    Path("recipe.empty").write_text("\n")
    with pytest.raises(SystemExit):
        main(["redirect", "-c", recipe, argument])
    assert message in capsys.readouterr().err
    assert not Path("out").exists()
