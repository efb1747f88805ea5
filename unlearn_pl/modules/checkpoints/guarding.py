"""What a Trainer's strategy and callbacks do with checkpoints, made safe while a module of this library is attached."""

from pathlib import Path

import lightning.pytorch as pl
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.strategies import ModelParallelStrategy
from lightning.pytorch.utilities import rank_zero_info

from unlearn_pl.modules.checkpoints.checkpoint_io import WholeCheckpointIO
from unlearn_pl.modules.checkpoints.folder import is_folder
from unlearn_pl.modules.checkpoints.last import last_checkpoints
from unlearn_pl.modules.checkpoints.replacing import replace_link
from unlearn_pl.modules.checkpoints.sharded import check_sharded
from unlearn_pl.modules.lightning_internals import (
    basic_checkpoint_io,
    peeked,
    remove_after_saving,
    replace_checkpoint_io,
    replace_in_model_checkpoint,
)
from unlearn_pl.results.checkpoint_file import check_file


def guard_checkpoints(trainer: pl.Trainer) -> None:
    """Let ``trainer`` write whole checkpoints, move links in one step, find the last whole one, and save in time.

    A ``CheckpointIO`` of the user's own stays; in wrappers, such as Lightning's for saving in the background, the one
    that writes is replaced if it is Lightning's.

    Args:
        trainer: a module of this library has been attached to it; calling this again changes nothing.
    """
    replace_checkpoint_io(trainer.strategy, WholeCheckpointIO)
    remove_after_saving(trainer.strategy)
    for callback in trainer.checkpoint_callbacks:
        if isinstance(callback, ModelCheckpoint):
            replace_in_model_checkpoint(callback, replace_link, last_checkpoints)


def announce_own_io(trainer: pl.Trainer) -> None:
    """Say that checkpoints are written by a ``CheckpointIO`` of the user's own, if they are."""
    io = basic_checkpoint_io(trainer.strategy)
    if not isinstance(io, WholeCheckpointIO):
        rank_zero_info(
            f"Checkpoints are written and read by {type(io).__name__}: whether they are whole is not checked."
        )


def reads_with_torch(trainer: pl.Trainer) -> bool:
    """Whether ``trainer`` reads checkpoints in PyTorch's formats, and not with a ``CheckpointIO`` of the user's own."""
    sharded = isinstance(trainer.strategy, ModelParallelStrategy)  # which never asks a CheckpointIO to read
    return sharded or isinstance(basic_checkpoint_io(trainer.strategy), WholeCheckpointIO)


def check_whole(trainer: pl.Trainer, checkpoint_path: object) -> None:
    """Check a checkpoint that ``trainer`` is about to read, unless it is for a ``CheckpointIO`` of the user's own.

    Args:
        trainer: reads it.
        checkpoint_path: a file or a folder.

    Raises:
        ValueError: naming the checkpoint, what is wrong with it and what to do.
        FileNotFoundError: if there is none.
    """
    if not reads_with_torch(trainer):
        return
    path = Path(str(checkpoint_path))
    if isinstance(trainer.strategy, ModelParallelStrategy) and is_folder(path):
        check_sharded(trainer.strategy, path)
        return
    check_file(str(checkpoint_path))
    if path.is_file() and (found := peeked(path)) and "state_dict" not in found:
        raise ValueError(
            f"The checkpoint {str(path)!r} holds no weights under 'state_dict', but {sorted(map(str, found))[:6]}: it "
            "was not written by a Trainer. Give a .ckpt file of a run."
        )
