"""``unlearn-pl attribute``: score the weights of a model on its data, and write a mask or adapters for ``fit``."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
from lightning.pytorch.cli import LightningArgumentParser

from unlearn_pl.attribution import Attribution, write_adapters, write_mask
from unlearn_pl.commands.trainer import UnlearnCLI
from unlearn_pl.results import check_writable

PLACE = (
    "accelerator",
    "strategy",
    "devices",
    "num_nodes",
    "precision",
    "plugins",
    "deterministic",
    "benchmark",
    "limit_train_batches",
    "enable_progress_bar",
    "default_root_dir",
)
"""Arguments of the Trainer that determine where gradients are computed, how exactly, and on how much data."""


def main(args: Sequence[str]) -> None:
    """Run ``unlearn-pl attribute ARGS``."""
    cli = AttributeCLI(args)
    output, attribution, rank = (cli.config_init[name] for name in ("output", "attribution", "rank"))
    if cli.trainer.is_global_zero:
        check_writable(Path(output).parent, "--output")
    if rank is None:
        write_mask(output, attribution, cli.model, cli.datamodule, cli.trainer)
    else:
        write_adapters(output, attribution, rank, cli.model, cli.datamodule, cli.trainer)
    if cli.trainer.is_global_zero:
        print(f"Written to {output}")


class AttributeCLI(UnlearnCLI):
    """The arguments of ``fit``, the attribution and the file to write; of the Trainer's, only :data:`PLACE` are used.

    Args:
        args: the arguments after ``unlearn-pl attribute``.
    """

    def __init__(self, args: Sequence[str]) -> None:
        super().__init__(args, run=False)

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Add ``--attribution``, ``--rank`` and ``--output``."""
        super().add_arguments_to_parser(parser)
        parser.add_argument("--attribution", type=Attribution, required=True, help="how weights are scored")
        parser.add_argument(
            "--rank", type=int | None, default=None, help="write adapters of this rank instead, for LoRA's initializer"
        )
        parser.add_argument(
            "--output", type=str, required=True, help="file to write, for the mask MaskFile or with --rank AdapterFile"
        )

    def instantiate_trainer(self, **kwargs: Any) -> pl.Trainer:
        """A Trainer for one epoch, without callbacks, logs and checkpoints."""
        given = self.config_init["trainer"]
        return pl.Trainer(
            **{name: given[name] for name in PLACE},
            max_epochs=1,
            limit_val_batches=0,
            num_sanity_val_steps=0,
            logger=False,
            enable_checkpointing=False,
            enable_model_summary=False,
        )
