"""The folders that a run saves its checkpoints to."""

from pathlib import Path

import lightning.pytorch as pl
from lightning.pytorch.callbacks import ModelCheckpoint

from unlearn_pl.results import check_writable


def checkpoint_folders(trainer: pl.Trainer) -> list[Path]:
    """The local folders that its ``ModelCheckpoint`` write to, as far as they are known yet; none in a trial run."""
    given = [c.dirpath for c in trainer.checkpoint_callbacks if isinstance(c, ModelCheckpoint)]
    folders = dict.fromkeys(str(folder) for folder in given if folder and "://" not in str(folder))
    return [] if trainer.fast_dev_run else [Path(folder) for folder in folders]  # type: ignore[attr-defined]


def check_checkpoint_folders(trainer: pl.Trainer) -> None:
    """Check that checkpoints can be written, before hours of work; on rank 0, which writes most of them.

    Raises:
        ValueError: naming the folder and the reason.
    """
    if trainer.is_global_zero:
        for folder in checkpoint_folders(trainer):
            check_writable(folder, "dirpath of ModelCheckpoint")
