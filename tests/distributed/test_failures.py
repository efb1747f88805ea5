"""A failure on several devices ends with a clear message and an intact checkpoint, which any devices resume."""

import os
import subprocess
import sys
import warnings
from pathlib import Path

import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint

from tests import kit
from tests.distributed.cases import OPTIONS
from tests.distributed.failing_run import FAILS_IN_STEP
from unlearn_pl.combiners import MinNorm
from unlearn_pl.models import full_state_dict
from unlearn_pl.modules import GradDiff

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.filterwarnings("ignore:.*pre-optimization:UserWarning", "ignore:Be aware that when using")


def fit(folder: str, devices: int, micro_batch_size: int, resume: bool, max_steps: int) -> dict[str, torch.Tensor]:
    """The weights after ``max_steps`` steps of 8 examples, of which the first ones may be those of a checkpoint."""
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
    module = GradDiff(kit.model(), combiner=MinNorm(), **OPTIONS)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        trainer.fit(module, data, ckpt_path=f"{folder}/last.ckpt" if resume else None)
    assert module.windows_closed == max_steps
    return full_state_dict(module.model)


def assert_uninterrupted(resumed: dict[str, torch.Tensor], folder: Path) -> None:
    """The weights are those of six steps of one process."""
    expected = fit(str(folder / "whole"), devices=1, micro_batch_size=8, resume=False, max_steps=6)
    for name, value in expected.items():
        torch.testing.assert_close(resumed[name], value, rtol=1e-4, atol=1e-6)


@pytest.mark.distributed
@pytest.mark.parametrize("steps", [2, 3])  # at the end of an epoch, and in its middle
@pytest.mark.parametrize(("before", "after"), [(1, 2), (2, 1)])
def test_a_run_resumed_on_another_number_of_devices_is_the_uninterrupted_one(pool, tmp_path, before, after, steps):
    def run(devices, *args):
        return fit(str(tmp_path), 1, *args) if devices == 1 else pool.run(fit, str(tmp_path), devices, *args)[0]

    run(before, 4, False, steps)
    assert_uninterrupted(run(after, 4, True, 6), tmp_path)


@pytest.mark.parametrize("steps", [2, 3])
@pytest.mark.parametrize(("before", "after"), [(4, 2), (2, 8)])
def test_a_run_resumed_with_another_division_of_the_step_is_the_uninterrupted_one(tmp_path, before, after, steps):
    fit(str(tmp_path), devices=1, micro_batch_size=before, resume=False, max_steps=steps)
    assert_uninterrupted(fit(str(tmp_path), devices=1, micro_batch_size=after, resume=True, max_steps=6), tmp_path)


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
