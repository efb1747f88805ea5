"""The data module that every benchmark subclasses: named training streams and named evaluation splits."""

import hashlib
import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from functools import cached_property, partial
from itertools import chain
from typing import ClassVar, TypeVar

import lightning.pytorch as pl
from lightning.pytorch.utilities import CombinedLoader
from torch.utils.data import DataLoader, DistributedSampler
from transformers import PreTrainedTokenizerBase

from unlearn_pl.data.collate import collate_examples, collate_prompts
from unlearn_pl.data.evaluation.datasets import CandidateDataset, PromptDataset
from unlearn_pl.data.evaluation.evaluation_row import EvaluationRow, SplitSource, load_split
from unlearn_pl.data.sampling import StepSampler, step_draws
from unlearn_pl.data.stream_loader import StreamLoader
from unlearn_pl.data.streams.datasets import StreamDataset, TrainingDataset
from unlearn_pl.data.streams.source import Source, StreamSource
from unlearn_pl.data.text.encoder import Encoder, load
from unlearn_pl.data.text.template import Example, Template, default_template
from unlearn_pl.models import CausalLM, load_tokenizer
from unlearn_pl.recording import Recorded, arguments_of, record

AnySource = TypeVar("AnySource")
"""Where a stream or a split comes from."""


class UnlearningDataModule(Recorded, pl.LightningDataModule, ABC):
    """Serves micro-batches of all training streams at once, and every evaluation split on its own.

    A subclass says where rows come from; tokenization, sampling and loaders are done here::

        class SupportTickets(UnlearningDataModule):
            def load_streams(self):
                return {"forget": read_rows("forget.jsonl"), "retain": read_rows("retain.jsonl")}

            def load_splits(self):
                return {"forget": read_rows("forget_eval.jsonl")}

    An epoch is one pass over the anchor, the forget stream. Which examples an optimizer step sees depends on the seed,
    the stream and the number of the step alone (:func:`~unlearn_pl.data.step_indices`), so neither the number of
    devices, nor the size of micro-batches, nor an interruption changes it.

    Attributes:
        default_streams: streams that are loaded when none are asked for, and there is no module that reads some.
        default_splits: splits that are loaded when none are asked for; None for all.

    Args:
        tokenizer: a tokenizer, or the name or path of one; by default that of the module's model.
        streams: names of the training streams to load, among the keys of :meth:`load_streams`; None for those that the
            module's objectives read.
        splits: names of the evaluation splits to load, among the keys of :meth:`load_splits`; an empty list for none.
        batch_size: examples per stream and optimizer step, over all devices.
        micro_batch_size: examples per device and forward.
        eval_batch_size: examples per device in evaluation.
        max_eval_examples: evaluate the first questions of each split only; None for all.
        template: lays out question and answer; the tokenizer's chat template when it has one, else plain text.
        max_length: most tokens that an example may have; a longer one is an error. None for no limit.
        truncate: cut the beginning of the question of longer examples instead; answers are never cut.
        num_workers: worker processes per data loader.
        seed: seed of the order of the examples.

    Raises:
        ValueError: if a size is not positive; from ``setup``, if a stream or split is unknown, empty or unusable.
    """

    default_streams: ClassVar[Sequence[str]] = ("forget", "retain")
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
    ) -> None:
        super().__init__()
        check_positive(
            batch_size=batch_size,
            micro_batch_size=micro_batch_size,
            eval_batch_size=eval_batch_size,
            max_eval_examples=max_eval_examples,
            max_length=max_length,
        )
        if truncate and max_length is None:
            raise ValueError("truncate=True needs max_length, the most tokens that an example may have.")
        if streams is not None and not streams:
            raise ValueError("streams=[] leaves nothing to train on; name at least one, or None for the default ones.")
        self.save_hyperparameters(record(arguments_of(self)), logger=False)
        for name, value in (("streams", streams), ("splits", splits)):
            if isinstance(value, str):
                raise ValueError(
                    f"{name}={value!r} is a single string; accepted is a list of names, such as [{value!r}]."
                )
        self._asked_streams = streams
        self._loaded_streams: dict[str, TrainingDataset] = {}
        self.splits = self.default_splits if splits is None else splits
        self.batch_size = batch_size
        self.micro_batch_size = micro_batch_size
        self.eval_batch_size = eval_batch_size
        self.max_eval_examples = max_eval_examples
        self.template = template
        self.max_length = max_length
        self.truncate = truncate
        self.num_workers = num_workers
        self.seed = seed
        self._tokenizer = tokenizer

    # What a subclass writes ------------------------------------------------------------------------------------------

    @abstractmethod
    def load_streams(self) -> Mapping[str, StreamSource]:
        """All training streams by name: rows, functions that load them when they are asked for, or components.

        Components are :class:`~unlearn_pl.data.Source`, such as :class:`~unlearn_pl.data.Documents`.
        """

    def load_splits(self) -> Mapping[str, SplitSource]:
        """All evaluation splits by name: rows, or functions that load them when they are asked for.

        Rows are questions and answers, or of another kind of :class:`~unlearn_pl.data.EvaluationRow`.
        """
        return {}

    # What an engine asks ---------------------------------------------------------------------------------------------

    @cached_property
    def tokenizer(self) -> PreTrainedTokenizerBase:
        """The tokenizer that was given, by name or live, or else that of the model which is trained.

        Raises:
            ValueError: if there is neither.
        """
        tokenizer = self._tokenizer
        if tokenizer is None:
            spec = getattr(self.trainer and self.trainer.lightning_module, "spec", None)
            if isinstance(spec, CausalLM):
                return spec.tokenizer()
            raise ValueError(
                "tokenizer is None, and there is no model name to take one from. "
                "Accepted: a tokenizer, or the name or path of one."
            )
        return load_tokenizer(tokenizer) if isinstance(tokenizer, str) else tokenizer

    @property
    def streams(self) -> list[str]:
        """The training streams: those that were asked for, or that the module reads; without either, the default."""
        if self._asked_streams is not None:
            return list(self._asked_streams)
        module = None if self.trainer is None else self.trainer.lightning_module
        choose = getattr(module, "streams_to_load", None)
        return list(self.default_streams) if choose is None else choose(list(self._sources))

    @property
    def anchor(self) -> str:
        """The stream whose size defines the epoch: forget, or the first one when there is no forget stream."""
        return "forget" if "forget" in self.streams else self.streams[0]

    @property
    def steps_per_epoch(self) -> int:
        """Optimizer steps in which the anchor is seen once."""
        return math.ceil(len(self._training[self.anchor]) / self.batch_size)

    @property
    def micro_batches_per_step(self) -> int:
        """Micro-batches per device and optimizer step.

        Raises:
            ValueError: if ``batch_size`` is not a multiple of ``micro_batch_size`` times the number of devices.
        """
        devices, _ = self._world
        unit = self.micro_batch_size * devices
        if self.batch_size % unit:
            fitting = [size for size in (self.batch_size // unit * unit, self.batch_size // unit * unit + unit) if size]
            raise ValueError(
                f"batch_size={self.batch_size} is not a multiple of micro_batch_size={self.micro_batch_size} times "
                f"{devices} device(s); batch_size={' or '.join(map(str, fitting))} would be."
            )
        return self.batch_size // unit

    @property
    def longest_sequence(self) -> int:
        """Tokens in the longest example of all evaluation splits and, where something is trained, streams."""
        datasets = [*(self._training.values() if self._trains else ()), *self._candidates.values()]
        return max((dataset.longest_sequence for dataset in datasets), default=0)

    def training_examples(self, stream: str, num_steps: int | None) -> list[Example]:
        """What the first ``num_steps`` optimizer steps show of ``stream``, each example and answer once.

        Args:
            stream: name of the stream.
            num_steps: None for everything that any number of steps may show.
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

    # What Lightning calls --------------------------------------------------------------------------------------------

    def prepare_data(self) -> None:
        """Lets one process of a machine fill the caches of the training streams, before the others read them."""
        if self._trains:
            for name, source in _select(self._sources, self.streams, "streams").items():
                if isinstance(source, Source):
                    source.prepare(name, self._encoder)

    def setup(self, stage: str | None = None) -> None:
        """Loads and tokenizes what ``stage`` needs, so that errors surface before anything is trained."""
        if stage in (None, "fit"):
            _ = self.micro_batches_per_step, self._training
        if stage in (None, "fit", "validate", "test"):
            _ = self._candidates
        if stage in (None, "test", "predict"):
            _ = self._prompts

    def train_dataloader(self) -> CombinedLoader:
        """Micro-batches ``{stream: TokenBatch}``; every epoch has ``steps_per_epoch`` full steps."""
        return CombinedLoader({name: self._train_loader(name) for name in self.streams}, mode="min_size")

    def val_dataloader(self) -> dict[str, DataLoader]:
        """A loader of candidate answers (``TokenBatch`` with ``choice``) per split."""
        return {name: self._eval_loader(dataset) for name, dataset in self._candidates.items()}

    def test_dataloader(self) -> dict[str, DataLoader]:
        """The loaders of validation and those of prediction."""
        return {**self.val_dataloader(), **self.predict_dataloader()}

    def predict_dataloader(self) -> dict[str, DataLoader]:
        """A loader of prompts (``PromptBatch``) per split, named ``<split>.generate``."""
        return {f"{name}.generate": self._eval_loader(dataset) for name, dataset in self._prompts.items()}

    # Data sets, each built once ---------------------------------------------------------------------------------------

    @cached_property
    def _sources(self) -> Mapping[str, StreamSource]:
        return self.load_streams()

    @property
    def _training(self) -> dict[str, TrainingDataset]:
        sources = _select(self._sources, self.streams, "streams")
        for name, source in sources.items():
            if name not in self._loaded_streams:
                self._loaded_streams[name] = self._dataset(name, source)
        return {name: self._loaded_streams[name] for name in sources}

    def _dataset(self, name: str, source: StreamSource) -> TrainingDataset:
        if isinstance(source, Source):
            return source.dataset(name, self._encoder, self.seed)
        return StreamDataset(name, load(source, f"stream {name!r}"), self._encoder, self.seed)

    @cached_property
    def _evaluation(self) -> dict[str, list[EvaluationRow]]:
        sources = _select(self.load_splits(), self.splits, "splits")
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
    def _encoder(self) -> Encoder:
        template = self.template or default_template(self.tokenizer)
        return Encoder(self.tokenizer, template, self.max_length, self.truncate)

    # Loaders ----------------------------------------------------------------------------------------------------------

    def _train_loader(self, name: str) -> DataLoader:
        dataset = self._training[name]
        devices, rank = self._world
        sampler = StepSampler(
            dataset,
            name,
            seed=self.seed,
            batch_size=self.batch_size,
            steps_per_epoch=self.steps_per_epoch,
            start=self._steps_done,
            num_replicas=devices,
            rank=rank,
        )
        return StreamLoader(
            dataset,
            batch_size=self.micro_batch_size,
            sampler=sampler,
            num_workers=self.num_workers,
            persistent_workers=self.num_workers > 0,
            collate_fn=partial(collate_examples, pad_id=self._pad_id),
        )

    def _eval_loader(self, dataset: CandidateDataset | PromptDataset) -> DataLoader:
        devices, rank = self._world
        # Pads by repetition; metrics count an example once, by its index.
        sampler = DistributedSampler[object](dataset, devices, rank, shuffle=False) if devices > 1 else None
        collate = collate_prompts if isinstance(dataset, PromptDataset) else collate_examples
        return DataLoader(
            dataset,
            batch_size=self.eval_batch_size,
            sampler=sampler,
            num_workers=self.num_workers,
            collate_fn=partial(collate, pad_id=self._pad_id),
        )

    @property
    def _trains(self) -> bool:
        """Whether training streams are needed: not in an evaluation, for which they may not be there."""
        return self.trainer is None or self.trainer.state.fn in (None, "fit")

    @property
    def _pad_id(self) -> int:
        tokenizer = self.tokenizer
        return tokenizer.eos_token_id if tokenizer.pad_token_id is None else tokenizer.pad_token_id

    @property
    def _world(self) -> tuple[int, int]:
        """Number of devices that see different data, and this process's rank among them."""
        if self.trainer is None:
            return 1, 0
        shares = getattr(self.trainer.strategy, "distributed_sampler_kwargs", None)
        if shares is None:
            return self.trainer.world_size, self.trainer.global_rank
        return shares["num_replicas"], shares["rank"]

    def _steps_done(self) -> int:
        module = None if self.trainer is None else self.trainer.lightning_module
        return int(getattr(module, "windows_closed", 0))


def _select(available: Mapping[str, AnySource], names: Sequence[str] | None, argument: str) -> dict[str, AnySource]:
    """The sources called ``names`` (all when None), in that order."""
    names = list(available) if names is None else names
    unknown = [name for name in names if name not in available]
    if unknown:
        raise ValueError(f"Unknown {argument} {unknown}; accepted are {list(available)}.")
    return {name: available[name] for name in names}


def check_positive(least: int = 1, **sizes: int | None) -> None:
    """Checks arguments that are at least ``least``, or None.

    Raises:
        ValueError: naming the argument.
    """
    for name, size in sizes.items():
        if size is not None and size < least:
            raise ValueError(f"{name}={size} must be at least {least}.")
