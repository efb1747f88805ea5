"""Errors that a user can mend: one line, and the traceback on request."""

import subprocess
import sys

import pytest

from unlearn_pl.cli import main
from unlearn_pl.commands.errors import errors_in_one_line


def error_of(capsys, *arguments: str, status: int = 1) -> str:
    """The last line on standard error; there is no traceback, and no error above it."""
    with pytest.raises(SystemExit) as exit_:
        main(list(arguments))
    assert exit_.value.code == status
    written = capsys.readouterr().err
    assert "Traceback" not in written
    lines = [line for line in written.splitlines() if line.startswith("error: ")]
    assert lines == written.splitlines()[-1:]
    return lines[0]


@pytest.fixture(autouse=True)
def _folder(monkeypatch, tmp_path):
    monkeypatch.setenv("PL_GLOBAL_SEED", "0")  # seed_everything sets it; restored afterwards
    monkeypatch.chdir(tmp_path)
    (tmp_path / "rows.csv").write_text("question,answer\nWho?,Oda.\n")


OWN = ["-c", "text/mollm", "--trainer.precision=32-true", "--trainer.accelerator=cpu", "--data.retain=rows.csv"]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--model.model=./nowhere", "--data.forget=rows.csv"], "There is no model at './nowhere': no such folder."),
        (["--model.model=a/b/hf", "--data.forget=rows.csv"], "There is no model at 'a/b/hf': no such folder."),
        (["--model.model=empty", "--data.forget=rows.csv"], "The folder 'empty' holds no model"),
        (["--model.model=empty", "--ckpt_path=last"], "--ckpt_path last: there is no checkpoint in"),
    ],
)
def test_what_is_missing_is_one_line(arguments, told, tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    assert told in error_of(capsys, "fit", *OWN, *arguments)


def test_a_missing_file_is_one_line(tmp_path, tiny_model, tokenizer, capsys):
    from unlearn_pl.models import save_pretrained

    save_pretrained(tiny_model(), "model", tokenizer)
    line = error_of(capsys, "fit", *OWN, "--model.model=model", "--data.forget=rwos.csv")
    assert line == "error: There is no file or folder 'rwos.csv'."


def test_a_recipe_for_a_deeper_model_is_one_line(tmp_path, tiny_model, tokenizer, capsys):
    from unlearn_pl.models import save_pretrained

    save_pretrained(tiny_model(), "model", tokenizer)
    parts = [argument for part in ("base", "data/text", "methods/rmu_wmdp") for argument in ("-c", part)]
    own = [*OWN[2:], "--data.forget=rows.csv", "--data.warn_of_duplicates=false", "--model.model=model"]
    assert "layer 8, but the model has 2 layers" in error_of(capsys, "fit", *parts, *own)


@pytest.mark.parametrize(
    ("argument", "line"),
    [
        ("--data.batch_size=0", "batch_size=0 must be at least 1."),
        ("--model.gradient_clip_val=-1", "gradient_clip_val is -1.0; accepted: a positive norm, or None."),
        (
            '--model.goals={"forget": {"class_path": "AtMost", "init_args": {"level": 1.5}}}',
            "AtMost was given the level 1.5, but a probability must be in [0, 1]. For a loss: AtMost(loss=1.5).",
        ),
    ],
)
def test_a_value_that_a_class_refuses_is_its_sentence_alone(argument, line, capsys):
    assert error_of(capsys, "fit", *OWN, "--data.forget=rows.csv", argument) == f"error: {line}"


def test_a_negative_rate_is_named(tmp_path, tiny_model, tokenizer, capsys):
    from unlearn_pl.models import save_pretrained

    save_pretrained(tiny_model(), "model", tokenizer)
    own = [*OWN, "--data.forget=rows.csv", "--data.warn_of_duplicates=false", "--model.model=model"]
    assert "-0.001" in error_of(capsys, "fit", *own, "--model.optimizer.lr", "-1e-3")


def test_a_model_without_a_tokenizer_is_named(tmp_path, tiny_model, capsys):
    tiny_model().save_pretrained("bare")
    line = error_of(capsys, "fit", *OWN, "--data.forget=rows.csv", "--model.model=bare")
    assert line.startswith("error: There is no tokenizer in 'bare': no tokenizer.json and no tokenizer_config.json.")


def test_a_metric_that_nothing_logs_is_one_line(tmp_path, tiny_model, tokenizer, capsys):
    from unlearn_pl.models import save_pretrained

    save_pretrained(tiny_model(), "model", tokenizer)
    own = [*OWN, "--data.forget=rows.csv", "--data.warn_of_duplicates=false", "--model.model=model"]
    watch = ["--trainer.callbacks=EarlyStopping", "--trainer.callbacks.monitor=val/qa/forget_prob"]
    line = error_of(capsys, "fit", *own, *watch, "--trainer.max_epochs=1", "--trainer.enable_progress_bar=false")
    assert "val/qa/forget_prob" in line
    assert "train/loss/forget" in line


@pytest.mark.parametrize("command", ["test", "validate"])
def test_an_evaluation_without_callbacks_says_that_nothing_was_measured(command, tmp_path, tiny_model, tokenizer):
    from unlearn_pl.models import save_pretrained

    save_pretrained(tiny_model(), "model", tokenizer)
    own = [*OWN, "--data.forget=rows.csv", "--model.model=model", "--trainer.callbacks=null"]
    with pytest.warns(UserWarning, match="No metric was logged: no callback evaluates"):
        main([command, *own])


def test_with_debug_the_error_passes(capsys):
    with pytest.raises(ValueError, match="There is no model at"):
        main(["fit", *OWN, "--model.model=./nowhere", "--data.forget=rows.csv", "--debug"])
    with pytest.raises(ValueError, match="There is no results file"):
        main(["compare", "nowhere", "--debug"])


@pytest.mark.parametrize("mistake", [KeyError("k"), TypeError("t"), AssertionError(), InterruptedError()])
def test_mistakes_of_the_program_keep_their_traceback(mistake):
    with pytest.raises(type(mistake)), errors_in_one_line():
        raise mistake


def test_errors_from_elsewhere_name_their_place(capsys):
    with pytest.raises(SystemExit), errors_in_one_line():
        raise OSError("disk\n  is full")
    line = capsys.readouterr().err
    assert line.startswith("error: disk is full (OSError in commands/test_errors.py, line ")
    assert "--debug prints the traceback" in line


def test_the_console_imports_nothing_for_it():
    code = "import sys, unlearn_pl.commands.errors; assert not {'torch', 'lightning', 'httpx'} & set(sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
