"""The product of a run: a Hugging Face folder."""

from pathlib import Path
from typing import cast

import lightning.pytorch as pl
from torch import nn

from unlearn_pl.models import check_export_directory, save_pretrained


class SavePretrained(pl.Callback):
    """Writes ``pl_module.model``, and the data module's tokenizer, as a Hugging Face folder when ``fit`` has ended.

    The folder is what comes out of a run; Lightning's checkpoints are for resuming it. An earlier export is replaced
    as a whole. Like a checkpoint, it is not written under ``fast_dev_run``: a model trained for one step should not
    take the place of a real one.

    Args:
        directory: folder to write; ``hf`` in the Trainer's ``default_root_dir`` when not given.
        merge_lora: add the adapters to the weights they change and write a plain model; otherwise write the
            adapters alone.
    """

    def __init__(self, directory: str | None = None, merge_lora: bool = True) -> None:
        self.directory = directory
        self.merge_lora = merge_lora

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Check the folder before the training that is to fill it.

        Raises:
            ValueError: if it holds anything but an earlier export.
        """
        if stage == "fit":
            check_export_directory(self.path(trainer))

    def on_fit_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Write the folder; all ranks take part."""
        if trainer.fast_dev_run:  # type: ignore[attr-defined]
            return
        tokenizer = getattr(getattr(trainer, "datamodule", None), "tokenizer", None)
        save_pretrained(cast(nn.Module, pl_module.model), self.path(trainer), tokenizer, self.merge_lora)

    def path(self, trainer: pl.Trainer) -> Path:
        """The folder that is written."""
        return Path(self.directory or Path(trainer.default_root_dir) / "hf")
