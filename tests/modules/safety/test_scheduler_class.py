"""What makes a scheduler is checked before it is called with the optimizer; files may name any of PyTorch's."""

import functools
import os
import subprocess
from pathlib import Path

import pytest
import torch
import yaml
from lightning.pytorch.cli import ReduceLROnPlateau as WatchingPlateau
from torch.optim import SGD, AdamW
from torch.optim.lr_scheduler import LRScheduler, OneCycleLR, StepLR

from unlearn_pl.cli import main
from unlearn_pl.commands.trainer import trainer_parser
from unlearn_pl.modules import UnlearningModule
from unlearn_pl.modules.safety.scheduler_class import check_schedule, check_scheduler_path, made_scheduler
from unlearn_pl.optim import Cosine

DEBUG = ["-c", str(Path(__file__).parents[3] / "experiments" / "debug" / "mollm.yaml")]


def annotated(optimizer: object) -> LRScheduler:
    return StepLR(optimizer, 1)


def unclear(optimizer):
    return StepLR(optimizer, 1)


def optimizer():
    return SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.1)


def test_scheduler_classes_schedules_and_functions_that_say_so_are_accepted():
    for found in (StepLR, WatchingPlateau, Cosine, annotated):
        check_scheduler_path(found, "a.b")


@pytest.mark.parametrize("found", [os.system, subprocess.Popen, torch.nn.Linear, AdamW, unclear, None, 3])
def test_others_are_not(found):
    with pytest.raises(ValueError, match=r"schedule is 'a\.b'; accepted: a Schedule such as LinearWarmup\(\), a"):
        check_scheduler_path(found, "a.b")


@pytest.mark.parametrize("make", [functools.partial(StepLR, step_size=1), annotated, unclear, lambda o: StepLR(o, 1)])
def test_a_scheduler_is_made(make):
    check_schedule(make)
    assert isinstance(made_scheduler(make, optimizer()), StepLR)


@pytest.mark.parametrize("make", [os.system, subprocess.Popen, functools.partial(subprocess.Popen, shell=True)])
def test_what_is_no_scheduler_is_not_called(make):
    with pytest.raises(ValueError, match=r"schedule is .*accepted: "):
        made_scheduler(make, ["touch ran"])


# On the command line and in files -------------------------------------------------------------------------------------


def configured(*args):
    built = trainer_parser()
    return built.parse_args(["fit", *DEBUG, *args])["fit"]["model"]["init_args"]["schedule"]


def test_any_scheduler_of_pytorch_is_configured_by_its_path(tmp_path):
    cycle = {"class_path": "torch.optim.lr_scheduler.OneCycleLR", "init_args": {"max_lr": 0.1, "total_steps": 9}}
    (tmp_path / "a.yaml").write_text(yaml.safe_dump({"model": {"init_args": {"schedule": cycle}}}))
    flags = [f"--model.schedule={cycle['class_path']}", "--model.schedule.max_lr=0.1", "--model.schedule.total_steps=9"]
    for args in (["-c", str(tmp_path / "a.yaml")], flags):
        schedule = configured(*args)
        assert schedule["class_path"] == "torch.optim.lr_scheduler.OneCycleLR"
        assert (schedule["init_args"]["max_lr"], schedule["init_args"]["total_steps"]) == (0.1, 9)
    schedule = configured("--model.schedule=Cosine", "--model.schedule.warmup_epochs=0.25")
    assert (schedule["class_path"], schedule["init_args"]["warmup_epochs"]) == ("unlearn_pl.optim.Cosine", 0.25)


@pytest.mark.filterwarnings("ignore::jsonargparse._deprecated.JsonargparseDeprecationWarning")  # has a list of its own
@pytest.mark.parametrize("path", ["os.system", "subprocess.Popen", "torch.optim.AdamW"])
def test_what_a_file_names_is_not_called_unless_it_is_a_scheduler(path, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    schedule = {"class_path": path, "init_args": {"command" if path == "os.system" else "args": "touch ran"}}
    (tmp_path / "a.yaml").write_text(yaml.safe_dump({"model": {"init_args": {"schedule": schedule}}}))
    with pytest.raises(SystemExit):
        main(["fit", *DEBUG, "-c", str(tmp_path / "a.yaml"), f"--trainer.default_root_dir={tmp_path}"])
    assert not (tmp_path / "ran").exists()
    assert "schedule" in capsys.readouterr().err


@pytest.mark.filterwarnings("ignore:Using ModelCheckpoint with manual optimization")
@pytest.mark.filterwarnings("ignore::jsonargparse._deprecated.JsonargparseDeprecationWarning")
def test_a_run_with_a_scheduler_of_pytorch_is_loaded_again(tmp_path, monkeypatch):
    monkeypatch.setenv("PL_GLOBAL_SEED", "0")
    flags = ["--model.schedule=OneCycleLR", "--model.schedule.max_lr=0.1", "--model.schedule.total_steps=99"]
    quiet = ["--trainer.callbacks=[]", "--trainer.limit_val_batches=0", "--trainer.max_steps=1"]
    main(["fit", *DEBUG, *flags, *quiet, f"--trainer.default_root_dir={tmp_path}"])
    loaded = UnlearningModule.load_from_checkpoint(tmp_path / "checkpoints" / "last.ckpt")
    scheduler = loaded.schedule(optimizer())
    assert isinstance(scheduler, OneCycleLR)
    assert scheduler.total_steps == 99
