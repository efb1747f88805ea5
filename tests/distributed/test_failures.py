"""What goes wrong on several devices ends with a clear message, and leaves the last checkpoint as it was."""

import os
import subprocess
import sys
import warnings
from pathlib import Path

import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint

from tests import kit
from tests.distributed.failing_run import FAILS_IN_STEP
from unlearn_pl.combiners import MinNorm
from unlearn_pl.modules import GradDiff

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.filterwarnings("ignore:.*pre-optimization:UserWarning", "ignore:Be aware that when using")


def fit(folder: str, devices: int, micro_batch_size: int, resume: bool, max_steps: int) -> None:
    saving = ModelCheckpoint(folder, filename="last", save_on_train_epoch_end=True, enable_version_counter=False)
    trainer = kit.trainer(
        max_epochs=-1,
        max_steps=max_steps,
        devices=devices,
        strategy="ddp" if devices > 1 else "auto",
        enable_checkpointing=True,
        callbacks=[saving],
    )
    data = kit.Questions(batch_size=8, micro_batch_size=micro_batch_size, splits=[])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        trainer.fit(
            GradDiff(kit.model(), combiner=MinNorm()), data, ckpt_path=f"{folder}/last.ckpt" if resume else None
        )


@pytest.mark.distributed
def test_resuming_on_another_number_of_devices_is_refused(pool, tmp_path):
    fit(str(tmp_path), devices=1, micro_batch_size=4, resume=False, max_steps=2)
    before = (tmp_path / "last.ckpt").read_bytes()
    with pytest.raises(AssertionError, match=r"written on 1 device.* 2 micro-.*resumed on 2 device.*Resume on 1 dev"):
        pool.run(fit, str(tmp_path), 2, 4, True, 4)
    assert (tmp_path / "last.ckpt").read_bytes() == before


def test_resuming_with_another_division_of_the_step_is_refused(tmp_path):
    fit(str(tmp_path), devices=1, micro_batch_size=4, resume=False, max_steps=2)
    with pytest.raises(ValueError, match=r"2 micro-batch\(es\) per step, and would be resumed .* with 4 micro"):
        fit(str(tmp_path), devices=1, micro_batch_size=2, resume=True, max_steps=4)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("failure", "messages"),
    [
        ("error", ["the disk of rank 1 is gone"]),
        ("memory", ["memory per device, estimated", "Checkpoints that were written before are intact"]),
    ],
)
def test_a_failing_rank_ends_the_run_with_its_message_and_an_intact_checkpoint(tmp_path, failure, messages):
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
    script = str(Path(__file__).with_name("failing_run.py"))
    done = subprocess.run(
        [*launcher, script, str(tmp_path), failure], env=environment, cwd=ROOT, capture_output=True, text=True,
        timeout=300,
    )  # fmt: skip
    assert done.returncode != 0
    for message in messages:
        assert message in done.stderr
    checkpoint = torch.load(tmp_path / "last.ckpt", weights_only=True)
    assert checkpoint["unlearn_pl"]["windows_closed"] == FAILS_IN_STEP
    assert not list(tmp_path.glob("*.tmp"))
