"""A profiler that is configured in YAML writes into the folder of the run."""

from pathlib import Path

import lightning.pytorch as pl
import pytest
from lightning.pytorch.profilers import SimpleProfiler

from unlearn_pl.cli import main
from unlearn_pl.commands.run.folder import check_profiler

RECIPE = Path(__file__).parents[2] / "experiments" / "debug" / "mollm.yaml"


@pytest.fixture(autouse=True)
def _folder(monkeypatch, tmp_path):
    monkeypatch.setenv("PL_GLOBAL_SEED", "0")
    monkeypatch.chdir(tmp_path)


def trainer(**options: object) -> pl.Trainer:
    return pl.Trainer(**options, logger=False, accelerator="cpu", enable_checkpointing=False)


@pytest.mark.parametrize("folder", ["/elsewhere", "run/../other", "run2", "s3://bucket/profile"])
def test_other_folders(folder):
    with pytest.raises(ValueError, match=r"profiler has dirpath='.*', outside of the folder of the run.*Accepted: a"):
        check_profiler(trainer(default_root_dir="run", profiler=SimpleProfiler(folder)))


@pytest.mark.parametrize("folder", ["run", "run/profiles", Path("run"), None])
def test_folders_inside(folder):
    check_profiler(trainer(default_root_dir="run", profiler=SimpleProfiler(folder)))
    check_profiler(trainer(default_root_dir="run"))


def test_nothing_is_written_elsewhere(tmp_path, capsys):
    profiler = ["--trainer.profiler=SimpleProfiler", "--trainer.profiler.filename=../../a"]
    outside = f"--trainer.profiler.dirpath={tmp_path / 'other'}"
    with pytest.raises(SystemExit):
        main(["fit", "-c", str(RECIPE), "--trainer.default_root_dir=run", *profiler, outside])
    assert "outside of the folder of the run" in capsys.readouterr().err
    assert not (tmp_path / "other").exists()
