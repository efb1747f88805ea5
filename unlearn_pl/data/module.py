"""Base data module of texts: tokenized training streams and evaluation splits."""

import hashlib
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from functools import cached_property, partial
from itertools import chain
from typing import Any, ClassVar, cast

import numpy as np
from torch import Tensor
from torch.utils.data import DataLoader
from transformers import PreTrainedTokenizerBase

from unlearn_pl.data.collate import collate_examples, collate_prompts
from unlearn_pl.data.evaluation.datasets import CandidateDataset, PromptDataset
from unlearn_pl.data.evaluation.evaluation_row import EvaluationRow, SplitSource, load_split
from unlearn_pl.data.sampling import step_draws
from unlearn_pl.data.selection.columns import column_of
from unlearn_pl.data.selection.selected_source import SelectedSource
from unlearn_pl.data.stream_module import BatchOf, StreamDataModule, check_names, check_positive, select
from unlearn_pl.data.streams.datasets import StreamDataset, TrainingDataset
from unlearn_pl.data.streams.exclusion import PickedDataset
from unlearn_pl.data.streams.source import Source, StreamSource
from unlearn_pl.data.text.encoder import Encoder, load
from unlearn_pl.data.text.template import Example, Template, default_template
from unlearn_pl.models import load_tokenizer
from unlearn_pl.types import Batch, ScoreBatches

__all__ = ["UnlearningDataModule", "check_positive"]


class UnlearningDataModule(StreamDataModule):
    """Serves tokenized windows of all training streams at once, and every evaluation split separately.

    A subclass provides the rows; tokenization, sampling and loaders are implemented here::

        class SupportTickets(UnlearningDataModule):
            def load_streams(self):
                return {"forget": read_rows("forget.jsonl"), "retain": read_rows("retain.jsonl")}

            def load_splits(self):
                return {"forget": read_rows("forget_eval.jsonl")}

    Epochs, steps and their examples are those of :class:`~unlearn_pl.data.StreamDataModule`.

    Attributes:
        default_splits: splits that are loaded if ``splits`` is None; None for all.

    Args:
        tokenizer: a tokenizer, or the name or path of one; by default that of the module's model.
        streams: names of the training streams to load, among the keys of :meth:`load_streams`; None for those that the
            module's objectives read.
        splits: names of the evaluation splits to load, among the keys of :meth:`load_splits`; an empty list for none.
        batch_size: examples per stream and optimizer step, over all devices.
        micro_batch_size: examples per device and forward.
        eval_batch_size: examples per device in evaluation.
        max_eval_examples: evaluate only the first questions of each split; None for all.
        template: lays out question and answer; the tokenizer's chat template when it has one, else plain text.
        max_length: maximum number of tokens of an example; longer ones raise ValueError. None for no limit.
        truncate: cut off the beginning of the question of longer examples instead; answers are never cut.
        num_workers: worker processes per data loader.
        seed: seed of the order of the examples.
        selected: name of a stream to the part of a stream that it holds; see :class:`~unlearn_pl.data.SelectedSource`.

    Raises:
        ValueError: if a size is not positive; from ``setup``, if a stream or split is unknown, empty or unusable.
    """

    default_splits: ClassVar[Sequence[str] | None] = None

    def __init__(
        self,
        tokenizer: str | PreTrainedTokenizerBase | None = None,
        *,
        streams: Sequence[str] | None = None,
        splits: Sequence[str] | None = None,
        batch_size: int = 32,
        micro_batch_size: int = 4,
        eval_batch_size: int = 16,
        max_eval_examples: int | None = None,
        template: Template | None = None,
        max_length: int | None = None,
        truncate: bool = False,
        num_workers: int = 0,
        seed: int = 0,
        selected: Mapping[str, SelectedSource] | None = None,
    ) -> None:
        super().__init__(
            streams=streams,
            batch_size=batch_size,
            micro_batch_size=micro_batch_size,
            eval_batch_size=eval_batch_size,
            num_workers=num_workers,
            seed=seed,
            selected=selected,
        )
        check_positive(max_eval_examples=max_eval_examples, max_length=max_length)
        if truncate and max_length is None:
            raise ValueError("truncate=True needs max_length, the maximum number of tokens of an example.")
        check_names(splits=splits)
        self.splits = self.default_splits if splits is None else splits
        self.max_eval_examples = max_eval_examples
        self.template = template
        self.max_length = max_length
        self.truncate = truncate
        self._tokenizer = tokenizer

    # Implemented by subclasses ---------------------------------------------------------------------------------------

    @abstractmethod
    def load_streams(self) -> Mapping[str, StreamSource]:
        """All training streams by name: rows, functions that load them on demand, or components.

        Components are :class:`~unlearn_pl.data.Source`, such as :class:`~unlearn_pl.data.Documents`.
        """

    def load_splits(self) -> Mapping[str, SplitSource]:
        """All evaluation splits by name: rows, or functions that load them on demand.

        Rows are questions and answers, or another kind of :class:`~unlearn_pl.data.EvaluationRow`.
        """
        return {}

    # Read by modules -------------------------------------------------------------------------------------------------

    @cached_property
    def tokenizer(self) -> PreTrainedTokenizerBase:
        """The given tokenizer, or else that of the module's model.

        Raises:
            ValueError: if there is neither.
        """
        tokenizer = self._tokenizer
        if tokenizer is None:
            own = None if self.reader is None else self.reader.model_tokenizer()
            if own is not None:
                return own
            raise ValueError(
                "tokenizer is None, and there is no model name to take one from. "
                "Accepted: a tokenizer, or the name or path of one."
            )
        return load_tokenizer(tokenizer) if isinstance(tokenizer, str) else tokenizer

    def text_tokenizer(self) -> PreTrainedTokenizerBase:
        """The tokenizer of the data."""
        return self.tokenizer

    @property
    def longest_sequence(self) -> int:
        """Tokens in the longest example of all evaluation splits and, in training, all streams."""
        datasets = [*(self._training.values() if self._trains else ()), *self._candidates.values()]
        return max((dataset.longest_sequence for dataset in datasets), default=0)

    @property
    def holdout_set(self) -> str | None:
        """``holdout``, if there is a stream or an evaluation split of that name; loaded otherwise or not."""
        return super().holdout_set or ("holdout" if "holdout" in self.load_splits() else None)

    def sample(self, name: str, size: int) -> list[Batch]:
        """See :meth:`StreamProvider.sample`; of a split, the correct answers."""
        if name in self._sources:
            return super().sample(name, size)
        source = select(self.load_splits(), [name], "splits")[name]
        right = CandidateDataset(name, load_split(source, f"split {name!r}"), self._encoder).right_answers()
        return self._micro_batches(name, len(right), size, BatchOf(right, self.collate, takes_draws=False))

    def training_examples(self, stream: str, num_steps: int | None) -> list[Example]:
        """Examples of ``stream`` that the first ``num_steps`` optimizer steps show, each example and answer once.

        Args:
            stream: name of the stream.
            num_steps: number of optimizer steps; None for all examples that any number of steps may show.
        """
        dataset = self._training[stream]
        if num_steps is None:
            return dataset.shown()
        steps = (step_draws(self.seed, stream, step, self.batch_size, len(dataset)) for step in range(num_steps))
        return dataset.shown(chain.from_iterable(steps))

    def stream_fingerprint(self, stream: str) -> str:
        """SHA-256 of the rows of ``stream`` and of how template and tokenizer lay them out."""
        return self._training[stream].fingerprint()

    def question_hashes(self) -> dict[str, dict[int, str]]:
        """Evaluation split to index of the example to a hash of its question and answer."""
        return {
            name: {i: hashlib.sha256(row.content().encode()).hexdigest()[:8] for i, row in enumerate(rows)}
            for name, rows in self._evaluation.items()
        }

    def evaluation_rows(self, split: str) -> Sequence[EvaluationRow]:
        """The rows of an evaluation split that is loaded; the position of a row is the index of its examples.

        Args:
            split: its name.

        Raises:
            ValueError: if it is not loaded.
        """
        return select(self._evaluation, [split], "splits")[split]

    def refresh(self, epoch: int, score: ScoreBatches) -> None:
        """See :meth:`StreamProvider.refresh`."""
        size = self.eval_batch_size

        def score_examples(examples: Sequence[Example]) -> Tensor:
            parts = [examples[first : first + size] for first in range(0, len(examples), size)]
            return score([self.collate(part) for part in parts])

        for name, dataset in self._training.items():
            if dataset.is_refreshed and self.num_workers:
                raise ValueError(
                    f"num_workers={self.num_workers} would read copies of the stream {name!r} from before its views "
                    "were chosen. Accepted: num_workers=0."
                )
            dataset.refresh(epoch, score_examples)

    # Lightning hooks -------------------------------------------------------------------------------------------------

    def prepare_data(self) -> None:
        """Fills the caches of the training streams, in one process per machine, before the others read them."""
        if self._trains:
            for name, source in select(self._sources, self.streams, "streams").items():
                if isinstance(given := self._given.get(name, source), Source):
                    given.prepare(name, self._encoder)
        super().prepare_data()

    def setup(self, stage: str | None = None) -> None:
        """Loads and tokenizes what ``stage`` needs, so that errors surface before training starts."""
        super().setup(stage)
        if stage in (None, "fit", "validate", "test"):
            _ = self._candidates
        if stage in (None, "test", "predict"):
            _ = self._prompts

    def state_dict(self) -> dict[str, Any]:
        """What streams have chosen to show, for checkpoints."""
        states = {name: dataset.state_dict() for name, dataset in self._loaded_streams.items()}
        return {name: state for name, state in states.items() if state}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Resume with what the streams have chosen."""
        for name, state in state_dict.items():
            if name in self._loaded_streams:
                self._loaded_streams[name].load_state_dict(state)

    def val_dataloader(self) -> dict[str, DataLoader]:
        """A loader of candidate answers (``TokenBatch`` with ``choice``) per split."""
        return {name: self._split_loader(dataset) for name, dataset in self._candidates.items()}

    def test_dataloader(self) -> dict[str, DataLoader]:
        """The loaders of validation and those of prediction."""
        return {**self.val_dataloader(), **self.predict_dataloader()}

    def predict_dataloader(self) -> dict[str, DataLoader]:
        """A loader of prompts (``PromptBatch``) per split, named ``<split>.generate``."""
        return {f"{name}.generate": self._split_loader(dataset) for name, dataset in self._prompts.items()}

    # Datasets, each built once ----------------------------------------------------------------------------------------

    def _dataset(self, name: str, source: StreamSource) -> TrainingDataset:
        if isinstance(source, Source):
            return source.dataset(name, self._encoder, self.seed)
        return StreamDataset(name, load(source, f"stream {name!r}"), self._encoder, self.seed)

    @cached_property
    def _evaluation(self) -> dict[str, list[EvaluationRow]]:
        sources = select(self.load_splits(), self.splits, "splits")
        rows = {name: load_split(source, f"split {name!r}") for name, source in sources.items()}
        return {name: given[: self.max_eval_examples] for name, given in rows.items()}

    @cached_property
    def _candidates(self) -> dict[str, CandidateDataset]:
        return {name: CandidateDataset(name, rows, self._encoder) for name, rows in self._evaluation.items()}

    @cached_property
    def _prompts(self) -> dict[str, PromptDataset]:
        right = {name: dataset.first_candidates() for name, dataset in self._candidates.items()}
        datasets = {name: PromptDataset(rows, self._encoder, right[name]) for name, rows in self._evaluation.items()}
        return {name: dataset for name, dataset in datasets.items() if len(dataset)}

    @property
    def template_in_use(self) -> Template:
        """``template``, or what stands for None with this tokenizer."""
        return self.template or default_template(self.tokenizer)

    @property
    def _encoder(self) -> Encoder:
        return Encoder(self.tokenizer, self.template_in_use, self.max_length, self.truncate)

    # Loaders ----------------------------------------------------------------------------------------------------------

    def collate(self, examples: Sequence[Example]) -> Batch:
        """A right-padded :class:`~unlearn_pl.types.TokenBatch` of B ``examples``, ``[B, T]``."""
        return cast(Batch, collate_examples(examples, self._pad_id))

    def _batch_maker(self, dataset: TrainingDataset) -> BatchOf:
        # Not self.collate: the data module is not sent to worker processes.
        return BatchOf(dataset, partial(collate_examples, pad_id=self._pad_id), takes_draws=True)  # type: ignore[arg-type]

    def _part(self, dataset: TrainingDataset, rows: Sequence[int]) -> TrainingDataset:
        return PickedDataset(dataset, np.asarray(rows))

    def _texts(self, dataset: TrainingDataset) -> list[str]:
        examples = (dataset[index] for index in range(len(dataset)))
        return [str(self.tokenizer.decode(example.input_ids, skip_special_tokens=True)) for example in examples]

    def _column(self, source: str | Source, column: str) -> Sequence[object]:
        rows = self._given[source] if isinstance(source, str) else source
        return column_of(rows, column, f"stream {source!r}", self._encoder)

    def _split_loader(self, dataset: CandidateDataset | PromptDataset) -> DataLoader:
        collate = collate_prompts if isinstance(dataset, PromptDataset) else collate_examples
        return self._eval_loader(dataset, partial(collate, pad_id=self._pad_id))

    @property
    def _pad_id(self) -> int:
        tokenizer = self.tokenizer
        return tokenizer.eos_token_id if tokenizer.pad_token_id is None else tokenizer.pad_token_id
