"""The folders that a run saves its checkpoints to."""

from contextlib import ExitStack
from functools import partial
from pathlib import Path

import lightning.pytorch as pl
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.strategies import Strategy

from unlearn_pl.modules.checkpoints.folder_lock import locked_folder
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


def lock_checkpoint_folders(trainer: pl.Trainer) -> None:
    """Keep other runs out of the folders of checkpoints until ``trainer`` has ended, also by an exception.

    Called on all ranks when the folders are known. The locks end at the latest with the process.

    Raises:
        ValueError: on all ranks, if another run holds one of them; naming the folder and the process.
    """
    locks = ExitStack()
    refusal = ""
    if trainer.is_global_zero:
        try:
            for folder in dict.fromkeys(folder.resolve() for folder in checkpoint_folders(trainer)):
                locks.enter_context(locked_folder(folder, "checkpoints", "dirpath of ModelCheckpoint", "Trainer.fit"))
        except ValueError as error:
            locks.close()
            refusal = str(error)
    if refusal := trainer.strategy.broadcast(refusal):
        raise ValueError(refusal)
    # The last thing that a Trainer does, whether fit returns or raises; its hooks for the end are called in one case.
    trainer.strategy.teardown = partial(_end, trainer.strategy, locks)  # type: ignore[method-assign]


def _end(strategy: Strategy, locks: ExitStack) -> None:
    del strategy.teardown  # that of its class again
    with locks:
        strategy.teardown()
