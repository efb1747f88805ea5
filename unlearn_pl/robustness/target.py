"""The audited model and its forget and retain evaluation data."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from copy import copy
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import lightning.pytorch as pl
import torch
from lightning.pytorch.plugins.precision import Precision as PrecisionPlugin
from lightning.pytorch.utilities.seed import isolate_rng
from torch import Tensor, nn

from unlearn_pl.callbacks import ProgressBar
from unlearn_pl.data import EvaluationRow, StreamSource, UnlearningDataModule, default_template
from unlearn_pl.data.collate import collate_examples
from unlearn_pl.data.evaluation.datasets import CandidateDataset
from unlearn_pl.data.evaluation.evaluation_row import load_split
from unlearn_pl.data.text.encoder import Encoder
from unlearn_pl.models import CausalLM, load_tokenizer, resolve
from unlearn_pl.models.precision import WEIGHTS_OF_PRECISION
from unlearn_pl.modules import ModelModule, PretrainedModule
from unlearn_pl.robustness.audit_data import AuditData
from unlearn_pl.robustness.leakage import LeakageEvaluation
from unlearn_pl.robustness.questions import without_options

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

Precision = Literal["32-true", "bf16-mixed", "bf16-true", "64-true"]
FORGET, RETAIN = "forget", "retain"
"""Names of the forget and the retain split in metrics, regardless of their names in the data."""


@dataclass(frozen=True)
class Subject:
    """A model under attack: its folder, which attacks only read, and its evaluation data.

    Attributes:
        model: Hugging Face folder, a ``.gguf`` file, or an alias of :data:`unlearn_pl.models.language.names.ALIASES`.
        data: data module with the forget and the retain split; ``max_eval_examples`` limits every split that is
            evaluated, but not the rows that attacks choose from.
        forget_split: name of the forget split.
        retain_split: name of the retain split; None for none.
        seed: random seed of the attacks.
        max_new_tokens: maximum length of generated answers, in tokens.
        accelerator: the Trainer's.
        precision: the Trainer's.
        progress: whether to show progress bars.
        full: leakage that counts as complete, by metric of the forget split (``forget_probability``); 1 for other
            metrics.
    """

    model: str
    data: UnlearningDataModule
    forget_split: str = FORGET
    retain_split: str | None = RETAIN
    seed: int = 0
    max_new_tokens: int = 64
    accelerator: str = "auto"
    precision: Precision = "32-true"
    progress: bool = False
    full: Mapping[str, float] = field(default_factory=dict)

    def check(self) -> None:
        """Check that the model and the splits exist, without loading the model.

        Raises:
            ValueError: if one is missing; the message names it.
        """
        path, gguf_file = resolve(self.model)
        accepted = ("config.json", "adapter_config.json", gguf_file or "config.json")
        if not any((Path(path) / name).is_file() for name in accepted):
            raise ValueError(
                f"There is no model in {self.model!r}. Accepted: a Hugging Face folder with a config.json and the "
                "weights, such as SavePretrained writes."
            )
        _ = self.forget, self.retain

    @cached_property
    def tokenizer(self) -> "PreTrainedTokenizerBase":
        """The tokenizer in the model's folder.

        Raises:
            ValueError: if there is none.
        """
        try:
            return load_tokenizer(self.model)
        except (OSError, ValueError, TypeError) as error:
            raise ValueError(
                f"There is no tokenizer in {self.model!r}, which attacks need to format their prompts. Save it there "
                "with tokenizer.save_pretrained."
            ) from error

    @property
    def encoder(self) -> Encoder:
        """Encodes like the data module, with the model's own tokenizer."""
        template = self.data.template or default_template(self.tokenizer)
        return Encoder(self.tokenizer, template, self.data.max_length, self.data.truncate)

    @cached_property
    def forget(self) -> list[EvaluationRow]:
        """All rows of the forget split."""
        return self._split(self.forget_split)

    @cached_property
    def retain(self) -> list[EvaluationRow]:
        """All rows of the retain split; empty without one."""
        return [] if self.retain_split is None else self._split(self.retain_split)

    @property
    def splits(self) -> dict[str, list[EvaluationRow]]:
        """The rows of the forget split and, if there is one, the retain split that are evaluated."""
        rows = {FORGET: self.limited(self.forget), RETAIN: self.limited(self.retain)}
        return {name: of_split for name, of_split in rows.items() if of_split}

    def limited(self, rows: Sequence[EvaluationRow]) -> list[EvaluationRow]:
        """The evaluated part of ``rows``, each with its correct answer alone."""
        return [without_options(row) for row in rows[: self.data.max_eval_examples]]

    def answer_batches(self, rows: Sequence[EvaluationRow]) -> Iterator[dict[str, Tensor]]:
        """Questions with their correct answers, as the model reads them, in batches of the size of evaluations.

        Args:
            rows: of any split.

        Returns:
            ``input_ids`` and ``attention_mask``, ``[B, T]`` each.
        """
        encoded = CandidateDataset("rows", list(rows), self.encoder).right_answers()
        size, pad = self.data.eval_batch_size, self.tokenizer.pad_token_id or 0
        for start in range(0, len(encoded), size):
            batch = collate_examples(encoded[start : start + size], pad)
            yield {"input_ids": batch["input_ids"], "attention_mask": batch["attention_mask"]}

    def build(self) -> nn.Module:
        """The model, loaded from its folder in the dtype of the precision."""
        return CausalLM(self.model).build(WEIGHTS_OF_PRECISION.get(self.precision))

    def pretrained(self, model: nn.Module | None = None) -> PretrainedModule:
        """A module for :meth:`score`.

        Args:
            model: a modified model; the one in the folder by default.
        """
        return PretrainedModule(CausalLM(self.model) if model is None else model, self.max_new_tokens)

    def score(
        self, module: ModelModule, rows: Mapping[str, Sequence[EvaluationRow]], answers: bool = True
    ) -> LeakageEvaluation:
        """Evaluate a model.

        Args:
            module: module that owns the model.
            rows: split to its rows.
            answers: whether answers are generated as well.
        """
        evaluation = LeakageEvaluation()
        data = self.audit_data(rows)
        with self.drawing():
            trainer = self.trainer(callbacks=[evaluation])
            (trainer.test if answers else trainer.validate)(module, datamodule=data, verbose=False)
        return evaluation

    def audit_data(
        self,
        rows: Mapping[str, Sequence[EvaluationRow]],
        relearn: StreamSource | None = None,
        batch_size: int = 1,
        micro_batch_size: int = 1,
    ) -> AuditData:
        """The data module of an attack; see :class:`AuditData`."""
        return AuditData(self.tokenizer, self.data, rows, relearn, batch_size, micro_batch_size, self.seed)

    def trainer(self, callbacks: Sequence[pl.Callback] = (), **options: object) -> pl.Trainer:
        """A Trainer on one device without loggers and checkpoints.

        Args:
            callbacks: the Trainer's, beside the progress bar.
            options: further arguments of the Trainer.
        """
        return pl.Trainer(
            accelerator=self.accelerator,
            devices=1,
            precision=self.precision,
            logger=False,
            num_sanity_val_steps=0,
            enable_checkpointing=False,
            enable_progress_bar=self.progress,
            enable_model_summary=False,
            callbacks=[*callbacks, *([ProgressBar()] if self.progress else [])],
            **options,  # type: ignore[arg-type]
        )

    @cached_property
    def device(self) -> torch.device:
        """The device of an attack that calls the model itself."""
        return self.trainer().strategy.root_device

    def forward_context(self) -> AbstractContextManager[None]:
        """The precision of an attack that calls the model itself."""
        return self._precision_plugin.forward_context()

    @cached_property
    def _precision_plugin(self) -> PrecisionPlugin:
        return self.trainer().precision_plugin

    @contextmanager
    def drawing(self) -> Iterator[None]:
        """Random numbers that depend on the seed alone; the previous random state is restored afterwards."""
        with isolate_rng():
            torch.manual_seed(self.seed)
            yield

    def _split(self, name: str) -> list[EvaluationRow]:
        data = copy(self.data)
        data.max_eval_examples = None  # some data modules apply it on reading; attacks choose from all rows
        data.tokenizer = self.tokenizer  # some need one to read their files, and no Trainer supplies it
        splits = data.load_splits()
        if name not in splits:
            raise ValueError(f"The data has no split {name!r}; accepted are {', '.join(splits)}.")
        return load_split(splits[name], f"split {name!r}")
