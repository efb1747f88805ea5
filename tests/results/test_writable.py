"""What cannot be written is found before the work, and not after."""

from pathlib import Path

import pytest

from tests import kit
from unlearn_pl.callbacks import SavePredictions, SavePretrained
from unlearn_pl.modules import GradDiff
from unlearn_pl.results import check_writable

NOWHERE = "/proc/version/out"  # below a file, where even root cannot write


def test_folders_are_not_made(tmp_path):
    check_writable(tmp_path / "a" / "b", "output")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("folder", [NOWHERE, "/proc/nothing"])
def test_a_folder_that_cannot_be_written_is_an_error(folder):
    with pytest.raises(ValueError, match=rf"output: '{folder}' cannot be written to \(.*\)\. Accepted: a folder on"):
        check_writable(folder, "output")


def test_an_export_that_cannot_be_written_is_found_before_training():
    module = GradDiff(kit.model())
    data = kit.Questions(batch_size=4, micro_batch_size=4, splits=[])
    with pytest.raises(ValueError, match=r"SavePretrained: .* cannot be written to"):
        kit.trainer(max_steps=1, callbacks=[SavePretrained(NOWHERE)]).fit(module, data)
    assert module.windows_closed == 0


def test_predictions_that_cannot_be_written_are_found_before_predicting():
    predictions = SavePredictions(f"{NOWHERE}/predictions.jsonl")
    data = kit.Questions(batch_size=4, micro_batch_size=4)
    with pytest.raises(ValueError, match=r"SavePredictions: .* cannot be written to"):
        kit.trainer(callbacks=[predictions]).predict(GradDiff(kit.model(), max_new_tokens=1), data)


@pytest.mark.parametrize("command", ["fit", "test", "validate", "predict"])
def test_the_command_line_finds_it_before_anything_else(command, monkeypatch, capsys):
    from tests.test_cli import UNLEARNING
    from unlearn_pl.cli import main

    monkeypatch.setenv("PL_GLOBAL_SEED", "0")
    with pytest.raises(SystemExit) as exit_:
        main([command, *UNLEARNING, f"--trainer.default_root_dir={NOWHERE}"])
    assert exit_.value.code == 1
    assert f"trainer.default_root_dir: '{Path(NOWHERE)}' cannot be written to" in capsys.readouterr().err
