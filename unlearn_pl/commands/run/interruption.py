"""Runs that a signal ends: what was saved, and the exit status that shells and schedulers expect."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import lightning.pytorch as pl
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.trainer.states import TrainerFn
from lightning.pytorch.utilities import rank_zero_info
from lightning.pytorch.utilities.exceptions import SIGTERMException

from unlearn_pl.modules.checkpoints.last import newest_whole
from unlearn_pl.modules.checkpoints.replacing import discard

NAME = "last-terminated.ckpt"
"""Checkpoint of a run that SIGTERM has ended; ``--ckpt_path last`` finds it by the beginning of its name."""


class SaveOnTermination(pl.Callback):
    """Saves a checkpoint when SIGTERM ends ``fit``: Lightning then stops between two steps, without a word.

    Attributes:
        saved: the checkpoint; None if there is none.
    """

    def __init__(self) -> None:
        self.saved: Path | None = None

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        """Save, on all ranks together, unless no step was taken or no checkpoints are wanted."""
        if not isinstance(exception, SIGTERMException) or trainer.state.fn != TrainerFn.FITTING:
            return
        path = termination_checkpoint(trainer)
        if path is None or trainer.sanity_checking or not trainer.global_step:
            return
        trainer.save_checkpoint(path)
        self.saved = path


def termination_checkpoint(trainer: pl.Trainer) -> Path | None:
    """Where the checkpoint of a terminated run goes; None for a run without checkpoints."""
    saving = trainer.checkpoint_callback
    if trainer.fast_dev_run or not isinstance(saving, ModelCheckpoint) or not saving.dirpath:  # type: ignore[attr-defined]
        return None
    return Path(saving.dirpath) / NAME


def drop_termination_checkpoint(trainer: pl.Trainer) -> None:
    """Delete it, once a run has gone on from it to its end."""
    path = termination_checkpoint(trainer)
    if path is not None and trainer.is_global_zero:
        discard(path)


@contextmanager
def interruptions_told(trainer: pl.Trainer, checkpoints: str | Path, saving: SaveOnTermination) -> Iterator[None]:
    """Within the context, a signal that ends ``fit`` says on standard error what there is to resume from.

    Args:
        trainer: runs ``fit``.
        checkpoints: folder of the run's checkpoints.
        saving: a callback of ``trainer``.
    """
    try:
        yield
    except SystemExit as ended:
        if not isinstance(ended, SIGTERMException) and not isinstance(ended.__context__, KeyboardInterrupt):
            raise
        if trainer.is_global_zero:
            last = saving.saved or newest_whole(Path(checkpoints))
            told = "there is no checkpoint to resume from" if last is None else f"--ckpt_path last resumes from {last}"
            steps = trainer.global_step
            print(
                f"A signal has ended fit after {steps} optimizer steps: nothing is exported; {told}.", file=sys.stderr
            )
        raise


def requeued_checkpoint(trainer: pl.Trainer, checkpoints: str | Path, ckpt_path: str | None) -> str | None:
    """``last``, if SLURM has started the same job again, and it left a checkpoint to resume from; else ``ckpt_path``.

    Args:
        trainer: about to train.
        checkpoints: folder of the run's checkpoints.
        ckpt_path: as given on the command line.
    """
    if ckpt_path is not None or not int(os.environ.get("SLURM_RESTART_COUNT") or 0):
        return ckpt_path
    if list(Path(trainer.default_root_dir).glob("hpc_ckpt_*.ckpt")):
        return None  # Lightning's own, which it resumes from by itself
    if newest_whole(Path(checkpoints)) is None:
        return None
    rank_zero_info(f"SLURM has requeued this job: it resumes from the last checkpoint in {checkpoints}.")
    return "last"
