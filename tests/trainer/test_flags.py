"""Every flag of Lightning's Trainer has its effect on a run with a gradient per objective, and no other."""

import csv
import os
import warnings
from pathlib import Path

import lightning.pytorch as pl
import pytest
import torch
from lightning.pytorch.loggers import CSVLogger
from lightning.pytorch.plugins import MixedPrecision
from lightning.pytorch.profilers import SimpleProfiler

from tests import kit
from tests.trainer.tiny_run import Seen, assert_same, data, fit, module, weights


@pytest.fixture(scope="module")
def plain():
    """The weights after each step of a run of 2 epochs without any flag."""
    seen = Seen()
    fit(seen, max_epochs=2)
    return seen.steps


@pytest.fixture
def torch_flags(monkeypatch):
    """Flags of PyTorch that a Trainer sets for the whole process."""
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    before = torch.are_deterministic_algorithms_enabled(), torch.backends.cudnn.benchmark
    yield
    torch.use_deterministic_algorithms(before[0])
    torch.backends.cudnn.benchmark = before[1]
    torch.autograd.set_detect_anomaly(False)


SAME = {
    "barebones": True,
    "benchmark": True,
    "deterministic": True,
    "enable_autolog_hparams": False,
    "enable_model_summary": True,
    "enable_progress_bar": True,
    "gradient_clip_algorithm": "norm",
    "inference_mode": False,
    "log_every_n_steps": 0,
    "model_registry": "name",
    "profiler": "simple",
    "reload_dataloaders_every_n_epochs": 1,
    "sync_batchnorm": True,
    "use_distributed_sampler": False,
}


@pytest.mark.parametrize("flag", SAME)
@pytest.mark.usefixtures("torch_flags")
def test_flags_that_do_not_change_the_weights(flag, plain, tmp_path):
    _, fitted = fit(max_epochs=2, default_root_dir=tmp_path, **{flag: SAME[flag]})
    assert_same(weights(fitted), plain[4])


# What is run ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("flags", "steps", "stop_at"),
    [
        ({"max_epochs": 2}, 4, None),
        ({"max_epochs": -1, "max_steps": 3}, 3, None),
        ({"max_epochs": 2, "limit_train_batches": 1}, 2, None),
        ({"max_epochs": 2, "limit_train_batches": 0.5}, 2, None),
        ({"max_epochs": 3}, 1, 1),
        ({"max_epochs": 3, "min_steps": 3}, 3, 1),
        ({"max_epochs": 3, "min_epochs": 2}, 4, 1),
        ({"max_epochs": 3, "max_time": {"seconds": 0}}, 0, None),
        ({"fast_dev_run": True}, 1, None),
    ],
    ids=str,
)
def test_flags_that_end_a_run(flags, steps, stop_at):
    trainer, fitted = fit(Seen(stop_at), **flags)
    assert (trainer.global_step, fitted.windows_closed) == (steps, steps)


@pytest.mark.parametrize(
    ("flags", "validations"),
    [
        ({}, [2, 4]),
        ({"val_check_interval": 1}, [1, 2, 3, 4]),
        ({"val_check_interval": 0.5}, [1, 2, 3, 4]),
        ({"val_check_interval": 3, "check_val_every_n_epoch": None}, [3]),
        ({"check_val_every_n_epoch": 2}, [4]),
        ({"num_sanity_val_steps": 1}, [0, 2, 4]),
    ],
    ids=str,
)
def test_flags_that_say_when_validation_runs(flags, validations, plain):
    seen = Seen()
    fit(seen, max_epochs=2, **({"limit_val_batches": 1} | flags))
    steps = {0: weights(module()), **plain}
    for validated, step in zip(seen.validated, validations, strict=True):
        assert_same(validated, steps[step])
    assert_same(seen.steps[4], plain[4])


def test_limits_of_evaluations():
    seen = Seen()
    options = {"limit_val_batches": 1, "limit_test_batches": 0.5, "limit_predict_batches": 3}
    trainer = kit.trainer(callbacks=[seen], **options)
    questions = data(splits=["forget"], eval_batch_size=2)  # 6 rows, in 3 batches
    for run in (trainer.validate, trainer.test):
        run(module(max_new_tokens=2), questions, verbose=False)
    trainer.predict(module(max_new_tokens=2), questions)
    assert seen.batches == {"validate": 1, "test": 2, "predict": 3}  # tests score answers, and generate them


def test_data_loaders_are_made_anew(monkeypatch):
    made, make = [], kit.Questions.train_dataloader
    monkeypatch.setattr(kit.Questions, "train_dataloader", lambda self: made.append(self) or make(self))
    fit(max_epochs=2, reload_dataloaders_every_n_epochs=1)
    assert len(made) == 2


# What is computed ----------------------------------------------------------------------------------------------------


class Modes(pl.Callback):
    """Keeps what PyTorch is set to during a run."""

    def on_train_batch_end(self, *_) -> None:
        self.anomalies = torch.is_anomaly_enabled()
        self.deterministic = torch.are_deterministic_algorithms_enabled()
        self.benchmark = torch.backends.cudnn.benchmark

    def on_validation_batch_start(self, *_) -> None:
        self.inference = torch.is_inference_mode_enabled()


@pytest.mark.usefixtures("torch_flags")
@pytest.mark.parametrize("on", [True, False])
def test_modes_of_pytorch(on):
    modes = Modes()
    flags = ("inference_mode", "detect_anomaly", "deterministic", "benchmark")
    trainer, fitted = fit(modes, limit_val_batches=1, **dict.fromkeys(flags, on))
    trainer.validate(fitted, data(), verbose=False)
    assert (modes.inference, modes.anomalies, modes.deterministic, modes.benchmark) == (on,) * 4


def test_plugins():
    trainer, fitted = fit(plugins=[MixedPrecision("bf16-mixed", "cpu")])
    assert trainer.precision == "bf16-mixed"
    assert fitted.windows_closed == 2


# What is written -----------------------------------------------------------------------------------------------------


def logged(folder: Path) -> list[dict[str, str]]:
    (found,) = folder.glob("**/metrics.csv")
    return list(csv.DictReader(found.read_text().splitlines()))


@pytest.mark.parametrize(("every", "steps"), [(0, []), (1, [1, 2, 3, 4]), (2, [1, 2, 4]), (50, [1])])
def test_steps_that_are_logged(tmp_path, every, steps):
    fit(max_epochs=2, logger=CSVLogger(tmp_path), log_every_n_steps=every)
    rows = logged(tmp_path) if steps else []
    assert [int(row["step"]) for row in rows] == steps
    assert bool(list(tmp_path.glob("**/metrics.csv"))) == bool(steps)
    assert all(row["train/loss/forget"] for row in rows)


def test_barebones_shows_and_writes_nothing(tmp_path, capsys):
    trainer, _ = fit(barebones=True, default_root_dir=tmp_path, limit_val_batches=1)
    assert not list(tmp_path.iterdir())
    assert not capsys.readouterr().out
    assert not trainer.callback_metrics


def test_barebones_is_not_warned_of_values_that_it_does_not_log():
    trainer = pl.Trainer(barebones=True, accelerator="cpu", max_epochs=1, limit_val_batches=1)
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        trainer.fit(module(), data())
    assert not [str(warning.message) for warning in warned if "self.log" in str(warning.message)]


def test_hyperparameters_are_logged_unless_told_otherwise(tmp_path):
    for answer in (True, False):
        fit(logger=CSVLogger(tmp_path / str(answer)), enable_autolog_hparams=answer)
        files = list((tmp_path / str(answer)).glob("**/hparams.yaml"))
        assert ["MinNorm" in file.read_text() for file in files] == [True] * answer


def test_files_of_a_run_are_in_its_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    root = tmp_path / "run"
    fit(default_root_dir=root, logger=CSVLogger(root), enable_checkpointing=True)
    assert [path.name for path in root.glob("**/*.ckpt")] == ["epoch=0-step=2.ckpt"]
    assert os.listdir() == ["run"]
    fit(default_root_dir=root / "none", enable_checkpointing=False)
    assert not (root / "none").exists()


def test_progress_and_summary_are_shown_unless_told_otherwise(capsys):
    for shown in (True, False):
        fit(enable_progress_bar=shown, enable_model_summary=shown)
        found = capsys.readouterr()
        assert ("train/loss/forget" in found.out + found.err) == shown
    kinds = {"ProgressBar", "ModelSummary"}
    for shown in (True, False):
        trainer = kit.trainer(enable_progress_bar=shown, enable_model_summary=shown)
        names = " ".join(base.__name__ for callback in trainer.callbacks for base in type(callback).__mro__)
        assert all((kind in names) == shown for kind in kinds)


def test_profilers_see_every_step():
    profiler = SimpleProfiler()
    fit(profiler=profiler)
    (steps,) = (times for name, times in profiler.recorded_durations.items() if name.endswith("run_training_batch"))
    assert len(steps) == 2
