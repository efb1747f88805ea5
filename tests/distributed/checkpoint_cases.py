"""Runs that save a folder of shards and resume from it; ``test_checkpoints.py`` changes the folder in between."""

import functools
from pathlib import Path

import torch
from lightning.pytorch.callbacks import ModelCheckpoint

from tests import kit
from unlearn_pl.models import full_state_dict
from unlearn_pl.modules import GradDiff

ADAMW = functools.partial(torch.optim.AdamW, lr=1e-3)


def trained(steps: int, folder: str | None = None, ckpt_path: str | None = None, **saving):
    """The weights after ``steps`` steps, with checkpoints after each of them if a folder is given."""
    callbacks = [] if folder is None else [ModelCheckpoint(folder, "{step}", every_n_train_steps=1, **saving)]
    trainer = kit.trainer(
        max_steps=steps,
        max_epochs=-1,
        strategy="fsdp2",
        devices=2,
        callbacks=callbacks,
        enable_checkpointing=bool(callbacks),
    )
    module = GradDiff(kit.model(), 0.1, optimizer=ADAMW)
    trainer.fit(module, kit.Questions(batch_size=8, micro_batch_size=4), ckpt_path=ckpt_path)
    return {"state": full_state_dict(module.model), "steps": trainer.global_step, "from": trainer.ckpt_path}


def error(steps: int, ckpt_path: str) -> str:
    """The message with which resuming ends."""
    try:
        trained(steps, ckpt_path=ckpt_path)
    except ValueError as raised:
        return str(raised)
    return "nothing was raised"


def saved_over(folder: str) -> list[str]:
    """Names in ``folder`` after the same checkpoint was saved twice."""
    trained(2, folder, save_top_k=0, save_last=True, enable_version_counter=False)
    return sorted(path.name for path in Path(folder).iterdir())
