"""Typing errors on the command line and in files: one line that says what was probably meant."""

import subprocess
import sys

import pytest
import yaml

from unlearn_pl.cli import main
from unlearn_pl.commands.help.hints import arguments_of_class, did_you_mean

MODEL = {"class_path": "MOLLM", "init_args": {"model": "x"}}


def refused(capsys, *arguments: str) -> str:
    with pytest.raises(SystemExit) as exit_:
        main(list(arguments))
    assert exit_.value.code == 2
    written = capsys.readouterr().err
    assert written.startswith("error: ")
    assert written.count("\n") == 1
    return written


@pytest.mark.parametrize(
    ("argument", "told"),
    [
        ("--model.combiner=MinNrom", "--model.combiner: there is no class 'MinNrom'. Did you mean MinNorm?"),
        ("--model.optimizer.lrr=1", "--model.optimizer.lrr: AdamW has no argument 'lrr'. Did you mean lr?"),
        ("--model.optimizer=Adamw", "Did you mean torch.optim.AdamW"),
        ("--model=MOLM", "--model: there is no class 'MOLM'. Did you mean MOLLM?"),
        ("--model.scope=globl", "accepted: 'global', 'group', 'tensor'. Did you mean global?"),
        ("--model.combiner.normalizing=l2", "GoalBarrier has no argument 'normalizing'. Did you mean normalization?"),
        ("--data.batchsize=4", "TOFUDataModule has no argument 'batchsize'. Did you mean batch_size"),
        ("--trainr.max_epochs=3", "there is no argument --trainr.max_epochs. Did you mean --trainer.max_epochs"),
        ("--lr=1e-4", "Did you mean --model.optimizer.lr?"),
        ("--trainer.max_epochs=three", "--trainer.max_epochs is 'three'; accepted: an integer, null."),
        ("--data.batch_size=x", "--data.batch_size is 'x'; accepted: an integer."),
        ("--trainer.precision=bf16-mixd", "--trainer.precision is 'bf16-mixd'; accepted: an integer, 'transformer"),
        ("--trainer.precision=bf16-mixd", "Did you mean bf16-mixed"),
        ("--model.goals.forget.level=holdut", "--model.goals.forget.level is 'holdut'; accepted: a number, 'start', "),
        ("--model.optimizer.lr=fast", "--model.optimizer.lr is 'fast'; accepted: a number, or a class, but none has"),
        (
            "--model.optimizer.betas=[0.5]",
            "--model.optimizer.betas: Expected a tuple with 2 elements. Got value: [0.5]",
        ),
        ("--trainer.logger=TensorBoardLogger", "--trainer.logger: the following arguments are required: save_dir ("),
        (
            "--trainer.logger.save_dir=x",
            "--trainer.logger.save_dir: --trainer.logger names no class that",
        ),
    ],
)
def test_arguments(argument, told, capsys):
    assert told in refused(capsys, "fit", "-c", "tofu/mollm", argument)


@pytest.mark.parametrize("number", ["-1e-3", "-1E5", "-.5", "-2."])
def test_negative_numbers_are_values(number, capsys):
    with pytest.raises(SystemExit) as exit_:
        main(["fit", "-c", "tofu/mollm", "--model.optimizer.lr", number, "--print_config"])
    assert exit_.value.code == 0
    assert yaml.safe_load(capsys.readouterr().out)["model"]["init_args"]["optimizer"]["init_args"]["lr"] == float(
        number
    )


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ({"trainr": {"max_epochs": 3}}, "Did you mean --trainer.max_epochs"),
        ({"trainer": {"max_epoch": 3}}, "Did you mean --trainer.max_epochs"),
        ({"trainer": {"callbacks": [{"class_path": "TOFUEvaluaton"}]}}, "Did you mean TOFUEvaluation"),
        ({"model": {**MODEL, "init_args": {"combinr": "MinNorm"}}}, "MOLLM has no argument 'combinr'. Did you mean co"),
    ],
)
def test_files(content, told, tmp_path, capsys):
    path = tmp_path / "own.yaml"
    path.write_text(yaml.safe_dump(content))
    assert told in refused(capsys, "fit", "-c", "tofu/mollm", "-c", str(path))


def test_other_commands(capsys):
    assert "Did you mean --model?" in refused(capsys, "attack", "-c", "attacks/tofu", "--modle=x")
    assert "there is no class 'Relerning'. Did you mean Relearning" in refused(
        capsys, "attack", "-c", "attacks/tofu", "--attacks=[Relerning]"
    )
    with pytest.raises(SystemExit):
        main(["attackk"])
    assert capsys.readouterr().err.endswith("error: 'attackk' is not a command; did you mean 'attack'?\n")


def test_with_debug_the_parser_tells_everything(capsys):
    with pytest.raises(Exception, match="Does not validate against any of the Union subtypes"):
        main(["fit", "-c", "tofu/mollm", "--model.combiner=MinNrom", "--debug"])


def test_arguments_of_a_class_include_its_options_and_those_of_its_bases():
    assert {"forget_split", "batch_size", "template"} <= set(arguments_of_class("unlearn_pl.data.TOFUDataModule"))
    assert {"lr", "weight_decay"} <= set(arguments_of_class("torch.optim.AdamW"))
    assert arguments_of_class("nowhere.Class") == arguments_of_class("") == []


def test_nothing_similar_is_no_suggestion():
    assert did_you_mean("zzz", ["alpha", "beta"]) == ""
    assert did_you_mean("Alphaa", ["alpha", "beta"]) == " Did you mean alpha?"


@pytest.mark.parametrize("class_", [None, "MOLLM"])
def test_help_of_a_class_lists_no_modules_of_torch(class_):
    """In a process of its own: which classes there are depends on what other tests have imported."""
    command = [sys.executable, "-m", "unlearn_pl", "fit", "--model.help", *([class_] if class_ else [])]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert printed.startswith("usage: unlearn-pl ")
    assert "torch.nn." not in printed
    assert "unlearn_pl.models.CausalLM" in " ".join(printed.split())
    assert printed.count("\n") < 250
