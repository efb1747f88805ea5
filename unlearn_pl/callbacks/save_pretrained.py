"""Export of the trained model as a Hugging Face folder."""

from pathlib import Path
from typing import cast

import lightning.pytorch as pl
from torch import nn

from unlearn_pl.models import check_export_directory, save_pretrained
from unlearn_pl.modules.lightning_internals import attached_datamodule
from unlearn_pl.types import StreamProvider


class SavePretrained(pl.Callback):
    """Writes ``pl_module.model``, and the tokenizer of the data module, as a Hugging Face folder at the end of ``fit``.

    The folder is the product of a run; Lightning's checkpoints are for resuming it. An earlier export is replaced as a
    whole. Like a checkpoint, the folder is not written under ``fast_dev_run``: a model trained for one step should not
    replace a real one.

    Args:
        directory: folder to write; by default ``hf`` in the Trainer's ``default_root_dir``.
        merge_lora: whether to merge adapters into the weights and write a plain model, or to write the adapters alone.
    """

    def __init__(self, directory: str | None = None, merge_lora: bool = True) -> None:
        self.directory = directory
        self.merge_lora = merge_lora

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Check the folder before training.

        Raises:
            ValueError: if it holds anything else than an earlier export.
        """
        if stage == "fit":
            check_export_directory(self.path(trainer))

    def on_fit_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Write the folder; all ranks take part."""
        if trainer.fast_dev_run:  # type: ignore[attr-defined]
            return
        data = attached_datamodule(trainer)
        if isinstance(data, StreamProvider):
            tokenizer = data.text_tokenizer()
        else:  # a plain LightningDataModule may hold one, too
            tokenizer = data.tokenizer if data is not None and hasattr(data, "tokenizer") else None
        save_pretrained(cast(nn.Module, pl_module.model), self.path(trainer), tokenizer, self.merge_lora)

    def path(self, trainer: pl.Trainer) -> Path:
        """The folder to write."""
        return Path(self.directory or Path(trainer.default_root_dir) / "hf")
