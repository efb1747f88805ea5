"""The audited model and its forget and retain evaluation data."""

from collections.abc import Iterator, Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from torch import Tensor, nn

from unlearn_pl.data import EvaluationRow, StreamSource, UnlearningDataModule, default_template
from unlearn_pl.data.collate import collate_examples
from unlearn_pl.data.evaluation.datasets import CandidateDataset
from unlearn_pl.data.evaluation.evaluation_row import load_split
from unlearn_pl.data.text.encoder import Encoder
from unlearn_pl.models import CausalLM, load_tokenizer, resolve
from unlearn_pl.models.language.names import load_config
from unlearn_pl.models.precision import WEIGHTS_OF_PRECISION
from unlearn_pl.modules import ModelModule, PretrainedModule
from unlearn_pl.robustness.attacked import FORGET, RETAIN, Attacked, Precision
from unlearn_pl.robustness.audit_data import AuditData
from unlearn_pl.robustness.leakage import LeakageEvaluation
from unlearn_pl.robustness.questions import without_options

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

__all__ = ["FORGET", "RETAIN", "Precision", "Subject"]


@dataclass(frozen=True)
class Subject(Attacked):
    """A language model under attack: its folder, which attacks only read, and its evaluation data.

    Attributes:
        model: Hugging Face folder, a ``.gguf`` file, or an alias of :data:`unlearn_pl.models.language.names.ALIASES`.
        data: data module with the forget and the retain split; ``max_eval_examples`` limits every split that is
            evaluated, but not the rows that attacks choose from.
    """

    data: UnlearningDataModule

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

    def check_lengths(self, rows: Sequence[EvaluationRow], attack: str) -> None:
        """Check that the rows that are evaluated fit the model's context, without loading the model.

        Args:
            rows: prompts with their answers.
            attack: name of the attack that makes them.

        Raises:
            ValueError: if one is too long; naming the attack and both lengths.
        """
        context = getattr(load_config(self.model), "max_position_embeddings", None)
        longest = CandidateDataset("prompts", self.limited(rows), self.encoder).longest_sequence
        if context is not None and longest > context:
            raise ValueError(
                f"{attack}: its longest prompt with the answer has {longest} tokens, but the context of the model in "
                f"{self.model!r} is {context}. Accepted are attacks that put less before a question, or max_length="
                f"{context} with truncate=True on the data module."
            )

    def contents(self) -> Iterator[str]:
        """See :meth:`Attacked.contents`."""
        return (repr(row) for row in (*self.forget, *self.retain))

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

    def unattacked(self) -> LeakageEvaluation:
        """The leakage of both splits without an attack."""
        return self.score(self.pretrained(), self.splits)

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

    def _split(self, name: str) -> list[EvaluationRow]:
        data = copy(self.data)
        data.max_eval_examples = None  # some data modules apply it on reading; attacks choose from all rows
        data.tokenizer = self.tokenizer  # some need one to read their files, and no Trainer supplies it
        splits = data.load_splits()
        if name not in splits:
            raise ValueError(f"The data has no split {name!r}; accepted are {', '.join(splits)}.")
        return load_split(splits[name], f"split {name!r}")
