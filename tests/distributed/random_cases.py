"""Runs with dropout on every rank of the pool, which a checkpoint interrupts."""

import lightning.pytorch as pl
import torch
from lightning.pytorch.callbacks import ModelCheckpoint

from tests import kit
from tests.distributed.cases import OPTIONS
from unlearn_pl.models import full_state_dict
from unlearn_pl.modules import FSDP2Strategy, GradDiff

STRATEGIES = {
    "ddp": lambda: "ddp",
    "fsdp2, one file": lambda: FSDP2Strategy(save_distributed_checkpoint=False),
    "fsdp2, folder": lambda: FSDP2Strategy(save_distributed_checkpoint=True),
}


def fit(name: str, folder: str, seed: int, ckpt_path: str | None) -> dict[str, torch.Tensor]:
    """The weights after five steps in epochs of two; a checkpoint is written after each of them."""
    pl.seed_everything(seed + 10 * torch.distributed.get_rank(), verbose=False)
    saving = ModelCheckpoint(folder, "{step}", every_n_train_steps=1, save_top_k=-1, enable_version_counter=False)
    trainer = kit.trainer(
        max_epochs=-1,
        max_steps=5,
        devices=2,
        strategy=STRATEGIES[name](),
        enable_checkpointing=True,
        callbacks=[saving],
    )
    module = GradDiff(kit.model(dropout=0.2), **OPTIONS)
    trainer.fit(module, kit.Questions(batch_size=8, micro_batch_size=2), ckpt_path=ckpt_path)
    return full_state_dict(module.model)


def interrupted(name: str, folder: str, steps: int) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    """The weights of an uninterrupted run, and of one that resumes after ``steps`` steps with other seeds."""
    whole = {key: value.clone() for key, value in fit(name, f"{folder}/whole", 0, None).items()}
    return whole, fit(name, f"{folder}/resumed", 5, f"{folder}/whole/step={steps}.ckpt")
