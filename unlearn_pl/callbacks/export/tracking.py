"""What Weights & Biases keeps of a run beside its curves: a summary, tables, and the exported model."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import lightning.pytorch as pl
from lightning.pytorch.loggers import WandbLogger


def wandb_loggers(trainer: pl.Trainer) -> list[WandbLogger]:
    """The loggers of Weights & Biases, on rank 0; other ranks have none."""
    return [logger for logger in trainer.loggers if isinstance(logger, WandbLogger)] if trainer.is_global_zero else []


def keep_summary(trainer: pl.Trainer, values: Mapping[str, object]) -> None:
    """Add single values to the summary of a run, the columns of the table of runs.

    Args:
        trainer: of the run.
        values: key to value.
    """
    for logger in wandb_loggers(trainer):
        logger.experiment.summary.update(dict(values))


def keep_before_and_after(
    trainer: pl.Trainer, benchmark: str, before: Mapping[str, float] | None, after: Mapping[str, float] | None
) -> None:
    """Add ``before/<benchmark>/<metric>`` and ``after/<benchmark>/<metric>`` to the summary.

    Args:
        trainer: of the run.
        benchmark: name of the benchmark.
        before: metrics before training, if they were computed.
        after: metrics after training, if they were computed.
    """
    for when, metrics in (("before", before), ("after", after)):
        if metrics:
            keep_summary(trainer, {f"{when}/{benchmark}/{name}": value for name, value in metrics.items()})


def keep_table(trainer: pl.Trainer, key: str, rows: Sequence[Mapping[str, object]]) -> None:
    """Add a table.

    Args:
        trainer: of the run.
        key: name of the table.
        rows: each from the name of a column to the value in it; nothing happens without rows.
    """
    columns = list(dict.fromkeys(name for row in rows for name in row))
    for logger in wandb_loggers(trainer) if rows else ():
        logger.log_table(key, columns=columns, data=[[row.get(name) for name in columns] for row in rows])


def keep_model(trainer: pl.Trainer, folder: Path, metadata: Mapping[str, object]) -> None:
    """Add an exported folder as an artifact of the type ``model``; Weights & Biases copies its files first.

    Args:
        trainer: of the run.
        folder: the export.
        metadata: of the artifact.
    """
    for logger in wandb_loggers(trainer):
        import wandb

        artifact = wandb.Artifact(f"export-{logger.experiment.id}", type="model", metadata=dict(metadata))
        artifact.add_dir(str(folder))
        logger.experiment.log_artifact(artifact)


def check_tracked(trainer: pl.Trainer, argument: str) -> None:
    """Check that there is a logger of Weights & Biases.

    Args:
        trainer: of the run.
        argument: that needs it, for the message.

    Raises:
        ValueError: if there is none.
    """
    if not any(isinstance(logger, WandbLogger) for logger in trainer.loggers):
        names = [type(logger).__name__ for logger in trainer.loggers]
        raise ValueError(f"{argument} needs a WandbLogger; the loggers of the Trainer are {names}.")
