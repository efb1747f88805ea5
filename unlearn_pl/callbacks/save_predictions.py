"""Export of generated answers."""

import json
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, cast

import lightning.pytorch as pl
from lightning.pytorch.utilities import rank_zero_info
from torch import distributed, nn

from unlearn_pl.callbacks.export.tracking import check_tracked, keep_table
from unlearn_pl.data import UnlearningDataModule
from unlearn_pl.modules.lightning_internals import attached_datamodule
from unlearn_pl.recording import Recorded
from unlearn_pl.results import check_writable, weights_fingerprint
from unlearn_pl.results.atomic_file import atomic_file


class SavePredictions(Recorded, pl.Callback):
    """Writes the answers of ``predict`` beside the correct answers, as JSON Lines.

    A line has ``split``, ``index`` (of the question in its split), ``question`` (with data modules that know it),
    ``answer`` and ``prediction``; every question has one line, on any number of devices. The default file is not
    replaced by other answers: these get a name with the fingerprint of the weights.

    Attributes:
        written: the file that the last ``predict`` wrote, on rank 0.

    Args:
        output: file to write; by default ``predictions.jsonl`` in ``default_root_dir``.
        in_test: whether to write the answers that ``test`` generates for its evaluations, too; it generates no others.
        log_table: whether to send the answers to Weights & Biases as well, as the table ``predict/answers`` or
            ``test/answers``; questions and answers of the forget set leave the machine with it.
    """

    def __init__(self, output: str | None = None, in_test: bool = False, log_table: bool = False) -> None:
        self.output = output
        self.in_test = in_test
        self.log_table = log_table
        self.written: Path | None = None
        self._lines: dict[tuple[str, int], dict[str, Any]] = {}

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Check the folder before anything is predicted.

        Raises:
            ValueError: if it cannot be written to; if a table is to be logged without a ``WandbLogger``.
        """
        writes = stage == "predict" or (stage == "test" and self.in_test)
        if writes and self.log_table:
            check_tracked(trainer, "SavePredictions(log_table=True)")
        if writes and trainer.is_global_zero and not trainer.fast_dev_run:  # type: ignore[attr-defined]
            check_writable(self.path(trainer).parent, "SavePredictions")

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
        self._keep(list(trainer.predict_dataloaders)[dataloader_idx], outputs, batch)  # type: ignore[arg-type]

    def on_test_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Drop the answers of an earlier ``test``."""
        self._lines = {}

    def on_test_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Keep the answers of a batch of prompts, if asked to."""
        if self.in_test and isinstance(outputs, Mapping) and "text" in outputs and "answer" in batch:
            self._keep(list(trainer.test_dataloaders)[dataloader_idx], outputs, batch)  # type: ignore[arg-type]

    def on_test_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """As :meth:`on_predict_epoch_end`, if asked to."""
        if self.in_test:
            self.on_predict_epoch_end(trainer, pl_module)

    def _keep(self, loader: str, outputs: Any, batch: Any) -> None:
        split = loader.removesuffix(".generate")
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
        fingerprint = weights_fingerprint(cast(nn.Module, getattr(pl_module, "model", pl_module)))
        if trainer.is_global_zero and not trainer.fast_dev_run:  # type: ignore[attr-defined]
            asked = _questions(trainer, {split for split, _ in lines})
            written = [_line(lines[key], asked.get(key)) for key in sorted(lines)]
            text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in written)
            self.written = path = self._free(self.path(trainer), text, fingerprint)
            with atomic_file(path) as unfinished:  # a full disk leaves the old answers
                unfinished.write_text(text, encoding="utf-8")
            if self.log_table:
                keep_table(trainer, "test/answers" if trainer.testing else "predict/answers", written)

    def _free(self, path: Path, text: str, fingerprint: str) -> Path:
        """``path``, or a name beside it if it has other answers and was not asked for."""
        if self.output or not path.exists() or path.read_bytes() == text.encode():
            return path
        beside = path.with_name(f"{path.stem}_{fingerprint[:8]}{path.suffix}")
        rank_zero_info(f"{path} has other answers, and stays. These are in {beside}.")
        return beside

    def path(self, trainer: pl.Trainer) -> Path:
        """The preferred file."""
        return Path(self.output or Path(trainer.default_root_dir) / "predictions.jsonl")


def _questions(trainer: pl.Trainer, splits: Collection[str]) -> dict[tuple[str, int], str]:
    """Split and index to the question, as far as the data module knows them."""
    data = attached_datamodule(trainer)
    if not isinstance(data, UnlearningDataModule):
        return {}
    loaded = [split for split in data.question_hashes() if split in splits]
    return {(split, i): row.asked() for split in loaded for i, row in enumerate(data.evaluation_rows(split))}


def _line(line: Mapping[str, Any], question: str | None) -> dict[str, Any]:
    place = {"split": line["split"], "index": line["index"]}
    asked = {"question": question} if question else {}
    return {**place, **asked, **line}
