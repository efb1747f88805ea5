"""A run that a signal ends says what it has saved, ends with the status of the signal, and resumes."""

import signal
from pathlib import Path

import pytest
import torch

from tests.test_cli import UNLEARNING, WITHOUT_EVALUATION, weights
from unlearn_pl.cli import main

pytestmark = [
    pytest.mark.filterwarnings("ignore:Using ModelCheckpoint with manual optimization"),
    pytest.mark.filterwarnings("ignore:Checkpoint directory .* exists and is not empty"),
    pytest.mark.filterwarnings("ignore:You're resuming from a checkpoint that ended before"),
]
SIGNAL = "--trainer.callbacks={class_path: tests.commands.signaled.Signaled, init_args: {name: %s, step: %d}}"


@pytest.fixture(autouse=True)
def _keep_environment(monkeypatch):
    monkeypatch.setenv("PL_GLOBAL_SEED", "0")
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # shells ignore it in jobs in the background
    yield
    signal.signal(signal.SIGINT, before)


def fit(root: Path, *arguments: str) -> None:
    main(["fit", *UNLEARNING, *WITHOUT_EVALUATION, f"--trainer.default_root_dir={root}", *arguments])


def ended(root: Path, capsys, *arguments: str) -> tuple[int, str]:
    with pytest.raises(SystemExit) as exit_:
        fit(root, *arguments)
    return exit_.value.code, capsys.readouterr().err


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    root = tmp_path_factory.mktemp("whole")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PL_GLOBAL_SEED", "0")
        fit(root)
    return weights(root / "checkpoints" / "last.ckpt")


@pytest.mark.parametrize("step", [1, 3])  # in the middle of an epoch, and in the first step of one
def test_sigterm_saves_a_checkpoint_between_two_steps_and_a_requeued_job_resumes(
    whole, tmp_path, capsys, monkeypatch, step
):
    status, told = ended(tmp_path, capsys, SIGNAL % ("SIGTERM", step))
    saved = tmp_path / "checkpoints" / "last-terminated.ckpt"
    assert status == 143
    assert f"ended fit after {step + 1} optimizer steps: nothing is exported; --ckpt_path last resumes from" in told
    assert str(saved) in told
    assert torch.load(saved, weights_only=True)["global_step"] == step + 1

    monkeypatch.setenv("SLURM_RESTART_COUNT", "1")
    fit(tmp_path)
    resumed = weights(tmp_path / "checkpoints" / "last.ckpt")
    assert all(torch.equal(resumed[name], value) for name, value in whole.items())
    assert not saved.exists()  # of no use any more


def test_sigint_names_the_last_checkpoint(tmp_path, capsys):
    status, told = ended(tmp_path, capsys, SIGNAL % ("SIGINT", 4))
    assert status == 130
    assert f"after 4 optimizer steps: nothing is exported; --ckpt_path last resumes from {tmp_path}" in told


def test_sigint_before_the_first_checkpoint(tmp_path, capsys):
    status, told = ended(tmp_path, capsys, SIGNAL % ("SIGINT", 0))
    assert status == 130
    assert "after 0 optimizer steps: nothing is exported; there is no checkpoint to resume from" in told
