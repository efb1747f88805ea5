"""The recipes for clusters: the one for torchrun runs on two ranks, that for SLURM is checked with a stand-in."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.test_experiments import ROOT

CLUSTER = ROOT / "cluster"
RECIPE = sorted((ROOT / "debug").glob("*.yaml"))[0]


def environment(**more: str) -> dict[str, str]:
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    return os.environ | {"PATH": path, "PYTHONPATH": str(ROOT.parent), "OMP_NUM_THREADS": "1", **more}


@pytest.mark.slow
@pytest.mark.parametrize("strategy", ["ddp", "fsdp2"])
def test_torchrun_trains_on_two_ranks(tmp_path, strategy):
    command = [str(CLUSTER / "torchrun.sh"), "-c", str(RECIPE), "-c", str(CLUSTER / f"{strategy}.yaml")]
    command += ["--trainer.accelerator=cpu", f"--trainer.default_root_dir={tmp_path}", "--trainer.precision=32-true"]
    command += ["--data.micro_batch_size=2"]
    done = subprocess.run(command, env=environment(GPUS="2", PORT="0"), cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "Starting with 2 processes" in done.stderr
    assert (tmp_path / "hf" / "config.json").exists()


def test_slurm_starts_a_task_per_device(tmp_path):
    (tmp_path / "srun").write_text('#!/bin/sh\necho "$OMP_NUM_THREADS: $@"\n')
    (tmp_path / "srun").chmod(0o755)
    slurm = {"SLURM_CPUS_PER_TASK": "4", "SLURM_JOB_NUM_NODES": "2", "SLURM_NTASKS_PER_NODE": "8"}
    variables = environment(**slurm)
    variables["PATH"] = f"{tmp_path}:{variables['PATH']}"
    done = subprocess.run([str(CLUSTER / "slurm.sh"), "-c", "a.yaml"], env=variables, capture_output=True, text=True)
    expected = "python -m unlearn_pl fit -c a.yaml --trainer.num_nodes=2 --trainer.devices=8"
    assert done.stdout.strip() == f"4: {expected}"


def test_torchrun_wants_to_know_the_number_of_devices():
    done = subprocess.run([str(CLUSTER / "torchrun.sh")], env=environment(), capture_output=True, text=True)
    assert done.returncode != 0
    assert "set GPUS" in done.stderr
