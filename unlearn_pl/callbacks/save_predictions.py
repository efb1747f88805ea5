"""Export of the answers of ``predict``."""

import json
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
from torch import distributed

from unlearn_pl.recording import Recorded


class SavePredictions(Recorded, pl.Callback):
    """Writes the answers of ``predict`` beside the correct answers, as JSON Lines.

    A line has ``split``, ``index`` (of the question in its split), ``answer`` and ``prediction``; every question has
    one line, on any number of devices.

    Args:
        output: file to write; by default ``predictions.jsonl`` in ``default_root_dir``.
    """

    def __init__(self, output: str | None = None) -> None:
        self.output = output
        self._lines: dict[tuple[str, int], dict[str, Any]] = {}

    def on_predict_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Drop the answers of an earlier ``predict``."""
        self._lines = {}

    def on_predict_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Keep the answers of a batch."""
        split = list(trainer.predict_dataloaders)[dataloader_idx].removesuffix(".generate")  # type: ignore[arg-type]
        for index, text, answer in zip(outputs["index"].tolist(), outputs["text"], batch["answer"], strict=True):
            self._lines[split, index] = {"split": split, "index": index, "answer": answer, "prediction": text}

    def on_predict_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Collect the lines of all ranks; rank 0 writes them."""
        shares = [self._lines]
        if trainer.world_size > 1:
            shares = [{} for _ in range(trainer.world_size)]
            distributed.all_gather_object(shares, self._lines)
        # Ranks repeat examples so that all have the same number.
        lines = {key: line for share in shares for key, line in share.items()}
        if trainer.is_global_zero and not trainer.fast_dev_run:  # type: ignore[attr-defined]
            path = self.path(trainer)
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("w", encoding="utf-8") as file:
                file.writelines(json.dumps(lines[key], ensure_ascii=False) + "\n" for key in sorted(lines))

    def path(self, trainer: pl.Trainer) -> Path:
        """The file to write."""
        return Path(self.output or Path(trainer.default_root_dir) / "predictions.jsonl")
