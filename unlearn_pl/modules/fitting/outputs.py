"""The folders that a run saves its checkpoints to."""

from contextlib import ExitStack
from pathlib import Path

import lightning.pytorch as pl
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.utilities import rank_zero_warn

from unlearn_pl.modules.checkpoints.folder_lock import FolderInUseError, locked_folder, this_process
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


class CheckpointLocks:
    """The locks on a run's folders of checkpoints, while it trains.

    Two runs with names of their own may share a folder, so that another run in it is a warning, and not an error as
    under ``unlearn-pl fit``.
    """

    def __init__(self) -> None:
        self._held = ExitStack()

    def __reduce__(self) -> tuple[type["CheckpointLocks"], tuple[()]]:
        return type(self), ()  # a copy of a module holds no lock

    def take(self, trainer: pl.Trainer) -> None:
        """Lock the folders, on rank 0; warns of other processes that train with checkpoints in them."""
        self.release()
        for folder in checkpoint_folders(trainer):
            try:
                self._held.enter_context(locked_folder(folder, "fit", warn=False))
            except FolderInUseError as error:
                if error.holder != this_process():
                    rank_zero_warn(
                        f"Another run saves checkpoints to {str(folder)!r}: {error.holder}. Those of the same name "
                        "replace each other, and ckpt_path='last' is the newest of both runs. Give ModelCheckpoint "
                        "another dirpath."
                    )

    def release(self) -> None:
        """Give them back."""
        self._held.close()
