"""SIGTERM ends training on all ranks after the same step, with a checkpoint, whichever rank it reaches."""

import os
import signal
import warnings
from pathlib import Path

import lightning.pytorch as pl
import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint

from tests import kit
from unlearn_pl.commands.run.interruption import NAME, SaveOnTermination
from unlearn_pl.modules import GradDiff


class Signaled(pl.Callback):
    """Sends SIGTERM to one rank in the middle of a step, where the other one is at another place."""

    def __init__(self, rank: int) -> None:
        self.rank = rank

    def on_before_optimizer_step(self, trainer, *_) -> None:
        if trainer.global_rank == self.rank and trainer.global_step == 2:
            os.kill(os.getpid(), signal.SIGTERM)


def ended(folder: str, rank: int, strategy: str) -> tuple[int, int, bool]:
    """Exit status, optimizer steps, and whether this rank knows of a checkpoint."""
    saving = SaveOnTermination()
    trainer = kit.trainer(
        max_epochs=6,
        devices=2,
        strategy=strategy,
        enable_checkpointing=True,
        callbacks=[ModelCheckpoint(folder), saving, Signaled(rank)],
    )
    module, data = GradDiff(kit.model()), kit.Questions(batch_size=8, micro_batch_size=4, splits=[])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(SystemExit) as exit_:
            trainer.fit(module, data)
    return exit_.value.code, trainer.global_step, saving.saved is not None


@pytest.mark.distributed
@pytest.mark.parametrize(("rank", "strategy"), [(0, "ddp"), (1, "ddp"), (1, "fsdp2")])
def test_a_signal_to_one_rank_ends_both_after_the_same_step(pool, tmp_path, rank, strategy):
    assert pool.run(ended, str(tmp_path), rank, strategy) == [(143, 3, True), (143, 3, True)]
    saved = Path(tmp_path, NAME)
    if saved.is_file():
        assert torch.load(saved, weights_only=True)["global_step"] == 3
    else:
        assert (saved / ".metadata").is_file()
