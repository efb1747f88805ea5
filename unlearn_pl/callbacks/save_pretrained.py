"""Export of the trained model as a Hugging Face folder."""

from functools import partial
from pathlib import Path
from typing import cast

import lightning.pytorch as pl
import torch
from lightning.pytorch.utilities import rank_zero_info, rank_zero_warn
from torch import Tensor, nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from unlearn_pl.callbacks.evaluation import EvaluationCallback
from unlearn_pl.callbacks.export.hub import HubUpload
from unlearn_pl.callbacks.export.measured import Measured, measured_by
from unlearn_pl.callbacks.export.model_card import model_card, write_model_card
from unlearn_pl.callbacks.export.prompting import Prompting, prompting_of
from unlearn_pl.callbacks.export.rank_zero import work_on_rank_zero
from unlearn_pl.callbacks.export.reload import (
    EXAMPLES,
    TOKENS,
    Probe,
    Reload,
    batch_probe,
    check_reload,
    output_of,
    text_probe,
)
from unlearn_pl.callbacks.export.tracking import check_tracked, keep_model
from unlearn_pl.data import UnlearningDataModule
from unlearn_pl.models import LanguageSpec, ModelSpec, check_export_directory, save_pretrained, spec_of
from unlearn_pl.models.adapters import has_adapter
from unlearn_pl.modules import ModelModule
from unlearn_pl.modules.lightning_internals import attached_datamodule
from unlearn_pl.results import check_writable, weights_fingerprint
from unlearn_pl.types import StreamProvider


class SavePretrained(pl.Callback):
    """Writes ``pl_module.model``, and the tokenizer of the data module, as a Hugging Face folder at the end of ``fit``.

    The folder is the product of a run; Lightning's checkpoints are for resuming it. An earlier export is replaced as a
    whole. Like a checkpoint, the folder is not written under ``fast_dev_run``: a model trained for one step should not
    replace a real one.

    The folder's ``README.md`` names method, data, metrics, limits, and how to prompt the model. A tokenizer without a
    chat template gets one that lays out questions as training did, so that the model answers in plain transformers.
    At the end the folder is loaded again, on the CPU, and its logits are compared with those of the trained model. The
    folder of an image classifier also says how images are normalized; its logits are compared on images of training.

    With ``push_to_hub``, rank 0 uploads the folder to the Hugging Face hub when all else of ``fit`` is done, unless the
    check has found that it does not reload. Whether the upload is allowed is asked before training. An upload that
    fails is a warning, with the command that repeats it: the folder is complete.

    Attributes:
        prompting: the prompt format of training, after ``fit``; None without a tokenizer.
        reload: outcome of the check, after ``fit``, on rank 0; None without one.
        uploaded: address of the commit on the hub, after ``fit``, on rank 0; None if nothing was uploaded.

    Args:
        directory: folder to write; by default ``hf`` in the Trainer's ``default_root_dir``.
        merge_lora: whether to merge adapters into the weights and write a plain model, or to write the adapters alone.
        check: whether to load the folder again and compare; needs memory for the model on the host.
        push_to_hub: the repository to upload the folder to, ``owner/name``, or one with options.
        log_artifact: whether to add the folder to the run in Weights & Biases, as an artifact of the type ``model``.
    """

    def __init__(
        self,
        directory: str | None = None,
        merge_lora: bool = True,
        check: bool = True,
        push_to_hub: HubUpload | str | None = None,
        log_artifact: bool = False,
    ) -> None:
        self.directory = directory
        self.merge_lora = merge_lora
        self.check = check
        self.push_to_hub = HubUpload(push_to_hub) if isinstance(push_to_hub, str) else push_to_hub
        self.log_artifact = log_artifact
        self.uploaded: str | None = None
        self._written: dict[str, str] | None = None
        self.prompting: Prompting | None = None
        self.reload: Reload | None = None

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Check the folder, and the repository on the hub, before training.

        Raises:
            ValueError: if the folder holds anything else than an earlier export, or cannot be written; if the hub does
                not allow the upload, see :meth:`~unlearn_pl.callbacks.HubUpload.check`; if an artifact is to be logged
                without a ``WandbLogger``.
        """
        if stage == "fit":
            self._written = self.uploaded = None
            if self.log_artifact:
                check_tracked(trainer, "SavePretrained(log_artifact=True)")
            check_export_directory(self.path(trainer))
            if trainer.is_global_zero and not trainer.fast_dev_run:  # type: ignore[attr-defined]
                check_writable(self.path(trainer).parent, "SavePretrained")  # the folder is replaced as a whole
            if self.push_to_hub is not None:
                _check_upload(trainer, self.push_to_hub)

    def on_fit_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Write the folder and check it; all ranks take part."""
        if trainer.fast_dev_run:  # type: ignore[attr-defined]
            return
        model, directory, data = cast(nn.Module, pl_module.model), self.path(trainer), attached_datamodule(trainer)
        tokenizer = _tokenizer(data)
        # Other data modules lay out their prompts in a way that is not known.
        template = data.template_in_use if isinstance(data, UnlearningDataModule) else None
        self.prompting = prompting_of(tokenizer, template) if tokenizer is not None and template else None
        exported = tokenizer if self.prompting is None else self.prompting.tokenizer
        spec = pl_module.spec if isinstance(pl_module, ModelModule) else None
        save_pretrained(model, directory, exported, self.merge_lora, files=spec.export_files() if spec else None)
        fingerprint = weights_fingerprint(model)
        self.reload = self._checked(trainer, model, _probe(model, spec, tokenizer, data)) if self.check else None
        if trainer.is_global_zero:
            name = None if self.push_to_hub is None else self.push_to_hub.repo_id.partition("/")[2]
            card = model_card(
                pl_module,
                data,
                self.prompting,
                _measured(trainer),
                self.reload,
                fingerprint,
                name=name,
                is_adapter=not self.merge_lora and has_adapter(model),
            )
            write_model_card(directory, card)
        trainer.strategy.barrier()
        self._written = {"method": type(pl_module).__name__, "weights_fingerprint": fingerprint}

    def teardown(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Hand the folder on, after everything else that ``fit`` writes; rank 0 does, and the others wait."""
        written, self._written = self._written, None
        if stage == "fit" and written is not None and (self.push_to_hub is not None or self.log_artifact):
            work_on_rank_zero(trainer, partial(self._hand_on, trainer, written))

    def _hand_on(self, trainer: pl.Trainer, metadata: dict[str, str]) -> None:
        """Add the folder to the run, and upload it; on rank 0. Errors are warnings: the folder is complete."""
        upload, folder = self.push_to_hub, self.path(trainer)
        if self.reload is not None and not self.reload.agrees:
            rank_zero_warn(f"The model was NOT uploaded, because the folder {folder} {self.reload.sentence}.")
            return
        if self.log_artifact:
            try:
                keep_model(trainer, folder, metadata)
            except Exception as error:  # the client's own, and those of files
                rank_zero_warn(
                    f"The model in {folder} is no artifact of Weights & Biases: {error}. The folder is complete."
                )
        if upload is not None:
            self.uploaded, sentence = upload.attempt(folder)
            (rank_zero_info if self.uploaded else rank_zero_warn)(sentence)

    def path(self, trainer: pl.Trainer) -> Path:
        """The folder to write."""
        return Path(self.directory or Path(trainer.default_root_dir) / "hf")

    def _checked(self, trainer: pl.Trainer, model: nn.Module, probe: Probe | None) -> Reload | None:
        """Compare the export with the trained model and say so; None on other ranks than 0, and without a probe."""
        if probe is None:
            return None
        expected = output_of(probe, model)
        if not trainer.is_global_zero:
            return None
        directory = self.path(trainer)
        reload = check_reload(directory, expected, probe, next(model.parameters()).dtype)
        (rank_zero_info if reload.agrees else rank_zero_warn)(f"The export in {directory} {reload.sentence}.")
        return reload


def _check_upload(trainer: pl.Trainer, upload: HubUpload) -> None:
    """Ask the hub on rank 0; an error is one on every rank, so that none waits for the others.

    Raises:
        ValueError: if it does not allow the upload.
    """
    problem: str | None = None
    if trainer.is_global_zero:
        try:
            if (unknown := upload.check()) is not None:
                rank_zero_warn(f"{unknown}. Training begins; if the upload fails, the folder stays.")
        except ValueError as error:
            problem = str(error)
    if (problem := trainer.strategy.broadcast(problem)) is not None:
        raise ValueError(problem)


def _probe(
    model: nn.Module,
    spec: ModelSpec | None,
    tokenizer: PreTrainedTokenizerBase | None,
    data: pl.LightningDataModule | None,
) -> Probe | None:
    """What is compared: the logits of a text, or a field of the view of examples; None if there is neither."""
    if spec is None or isinstance(spec, LanguageSpec):
        return text_probe(model, spec or spec_of(model), _sample(model, tokenizer))
    if spec.compared is None or not isinstance(data, StreamProvider):
        return None
    batches = data.sample(data.streams[0], EXAMPLES)
    return batch_probe(spec, batches[0]) if batches else None


def _tokenizer(data: pl.LightningDataModule | None) -> PreTrainedTokenizerBase | None:
    if isinstance(data, StreamProvider):
        return data.text_tokenizer()
    # A plain LightningDataModule may hold one, too.
    return data.tokenizer if data is not None and hasattr(data, "tokenizer") else None


def _sample(model: nn.Module, tokenizer: PreTrainedTokenizerBase | None) -> Tensor:
    """``[T]`` ids of a text, or the first ids of all without a tokenizer."""
    text = "What is known about the lighthouse of Tarn, and who keeps it in the winter of this year?"
    try:
        ids = list(tokenizer(text)["input_ids"])[:TOKENS] if tokenizer is not None else []
    except Exception:  # tokenizers of a few words raise a bare Exception for all others
        ids = []
    config = cast(PreTrainedModel, model).config.get_text_config()
    vocabulary = int(getattr(config, "vocab_size", 1))
    return torch.tensor(ids if ids and max(ids) < vocabulary else range(min(TOKENS, vocabulary)))


def _measured(trainer: pl.Trainer) -> list[Measured]:
    """The metrics of all evaluations in the run."""
    callbacks: list[pl.Callback] = trainer.callbacks  # type: ignore[attr-defined]
    return [
        metric
        for each in callbacks
        if isinstance(each, EvaluationCallback)
        for metric in measured_by(each.benchmark, each.before or {}, each.after or {}, each.after_scores)
    ]
