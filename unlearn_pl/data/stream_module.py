"""Base data module of training streams with any kind of examples, served as windows."""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence, Sized
from functools import cached_property, partial
from pathlib import Path
from typing import Any, ClassVar, Self, cast

import lightning.pytorch as pl
import torch
from lightning.pytorch.utilities import CombinedLoader
from torch.utils.data import DataLoader, Dataset, DistributedSampler, Subset, default_collate

from unlearn_pl.data.arguments import check_names, check_positive, select
from unlearn_pl.data.recorded_data import check_data_record, rebuilt
from unlearn_pl.data.sampling import Draw, StepSampler, StepShare, step_draws
from unlearn_pl.data.selection.examples import LoadedModel, StreamExamples
from unlearn_pl.data.selection.selected_source import SelectedSource
from unlearn_pl.data.selection.selections import Selections
from unlearn_pl.data.streams.source import Source
from unlearn_pl.data.windows import WindowDataset, WindowLoader
from unlearn_pl.recorded_paths import check_local, check_no_hparams_file
from unlearn_pl.recording import Recorded, check_given_again, record
from unlearn_pl.results.checkpoint_file import check_file
from unlearn_pl.types import Batch, InitialModel, StreamProvider, StreamReader


class StreamDataModule(Recorded, StreamProvider, pl.LightningDataModule, ABC):
    """Serves windows of all training streams at once, for any kind of examples.

    A subclass provides the examples::

        class Digits(StreamDataModule):
            def load_streams(self):
                return {"forget": TensorDictDataset(...), "retain": lambda: load_retain()}

    An example is a dictionary of tensors, or whatever :meth:`collate` accepts. A batch of the Trainer is one optimizer
    step of this rank: ``{stream: [micro-batch, ...]}``. ``index [B]`` and ``seeds [B]`` are added to the tensors that
    :meth:`collate` returns.

    An epoch is one pass over the anchor, the forget stream. Which examples an optimizer step sees depends only on the
    seed, the stream and the number of the step (:func:`~unlearn_pl.data.step_indices`), and not on the number of
    devices, the size of micro-batches or interruptions.

    Attributes:
        default_streams: streams that are loaded if ``streams`` is None and no module names those that it reads.

    Args:
        streams: names of the training streams to load, among the keys of :meth:`load_streams`; None for those that the
            module's objectives read.
        batch_size: examples per stream and optimizer step, over all devices.
        micro_batch_size: examples per device and forward.
        eval_batch_size: examples per device in evaluation.
        num_workers: worker processes per data loader.
        seed: seed of the order of the examples, and of the random numbers of their losses.
        selected: name of a stream to the part of a stream that it holds; see :class:`~unlearn_pl.data.SelectedSource`.
            The name may be that of a stream, which then has fewer rows, or a new one, such as ``retain.neighbor``.

    Raises:
        ValueError: if a size is not positive; from ``setup``, if a stream is unknown or empty.
    """

    default_streams: ClassVar[Sequence[str]] = ("forget", "retain")

    def __init__(
        self,
        *,
        streams: Sequence[str] | None = None,
        batch_size: int = 32,
        micro_batch_size: int = 4,
        eval_batch_size: int = 16,
        num_workers: int = 0,
        seed: int = 0,
        selected: Mapping[str, SelectedSource] | None = None,
    ) -> None:
        super().__init__()
        check_positive(batch_size=batch_size, micro_batch_size=micro_batch_size, eval_batch_size=eval_batch_size)
        if streams is not None and not streams:
            raise ValueError("streams=[] leaves nothing to train on; name at least one, or None for the default ones.")
        check_names(streams=streams)
        self.save_hyperparameters(record(self.recorded_arguments()), logger=False)
        self._asked_streams = streams
        self._loaded_streams: dict[str, Any] = {}
        self.batch_size = batch_size
        self.micro_batch_size = micro_batch_size
        self.eval_batch_size = eval_batch_size
        self.num_workers = num_workers
        self.seed = seed
        self.selected = selected
        self._selections = Selections(selected or {})
        self._whole_streams: dict[tuple[str, Source | None], Any] = {}

    @classmethod
    def load_from_checkpoint(  # type: ignore[override]
        cls, checkpoint_path: str | Path, *, allow: Sequence[str] = (), **kwargs: Any
    ) -> Self:
        """Build the data module of a checkpoint.

        A checkpoint is untrusted input: before anything is built, every class that it names must be a component of
        data, a data set or a tokenizer, and be in this library, PyTorch, transformers or a module that is imported
        already. Texts of arguments that take texts, such as paths of files, are not looked up.

        Args:
            checkpoint_path: a ``.ckpt`` file.
            allow: further packages whose modules may be imported and whose classes may be built.
            kwargs: arguments that replace recorded ones, or that could not be recorded, such as rows in memory.

        Raises:
            ValueError: naming every argument that could not be recorded and is not among ``kwargs``; naming a class
                that does not fit or is not imported; for an address, for Lightning's ``hparams_file``, and for a file
                that is torn or changed.
        """
        check_local(checkpoint_path)
        check_no_hparams_file(kwargs)
        check_file(checkpoint_path)
        options = {"weights_only": True, **kwargs}
        checkpoint = torch.load(checkpoint_path, map_location="cpu", weights_only=options["weights_only"])
        recorded = checkpoint.get(cls.CHECKPOINT_HYPER_PARAMS_KEY, {})
        check_data_record(recorded, kwargs, cls, allow)
        check_given_again(checkpoint_path, cls.__name__, recorded, kwargs)
        return super().load_from_checkpoint(checkpoint_path, **rebuilt(recorded, kwargs, allow), **options)

    # Implemented by subclasses ---------------------------------------------------------------------------------------

    @abstractmethod
    def load_streams(self) -> Mapping[str, Any]:
        """All training streams by name: datasets, or functions that load them on demand."""

    def collate(self, examples: Sequence[Any]) -> Batch:
        """A batch of ``examples``; by default PyTorch's own collation.

        Args:
            examples: B items of a dataset.

        Returns:
            Name to tensor ``[B, ...]``.
        """
        return default_collate(list(examples))

    # Read by modules -------------------------------------------------------------------------------------------------

    @property
    def streams(self) -> list[str]:
        """The training streams: those given, or else those that the module reads, or else the default ones."""
        if self._asked_streams is not None:
            return list(self._asked_streams)
        reader = self.reader
        read = None if reader is None else reader.streams_to_load(list(self._sources))
        return list(self.default_streams) if read is None else read

    @property
    def reader(self) -> StreamReader | None:
        """The module that is trained or evaluated, if it is a :class:`~unlearn_pl.types.StreamReader`."""
        module = None if self.trainer is None else self.trainer.lightning_module
        return module if isinstance(module, StreamReader) else None

    @property
    def anchor(self) -> str:
        """The stream whose size defines the epoch: ``forget``, or the first one if there is no such stream."""
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
    def holdout_set(self) -> str | None:
        """``holdout``, if there is a stream of that name; trained on or not."""
        return "holdout" if "holdout" in self._sources else None

    def sample(self, name: str, size: int) -> list[Batch]:
        """See :meth:`StreamProvider.sample`; the examples depend only on the seed and the name."""
        if name not in self._loaded_streams:
            self._load(select(self._sources, [name], "streams"))
        return self._micro_batches(name, len(self._loaded_streams[name]), size, self._batch_function(name))

    def _micro_batches(self, name: str, length: int, size: int, batch_of: Callable[..., Batch]) -> list[Batch]:
        draws = sorted(step_draws(self.seed, name, 0, min(size, length), length))
        windows = WindowDataset(name, seed=self.seed, micro_batch_size=self.micro_batch_size, batch_of=batch_of)
        return windows[StepShare(0, draws)]

    @property
    def order(self) -> Mapping[str, object]:
        """Examples per step and in each stream, the seed, and a hash of the rows of every selection."""
        examples = {name: len(dataset) for name, dataset in self._training.items()}
        order = {"batch_size": self.batch_size, "seed": self.seed, "examples": examples}
        made = self._selections.hashes(self.streams)
        return {**order, "selected": made} if made else order

    def selection_report(self, stream: str) -> Mapping[str, object]:
        """How the rows of ``stream``, one of ``selected``, were chosen: votes, coverage, overlap with a random choice.

        Raises:
            ValueError: if they were not chosen yet.
        """
        return self._selections.report(stream)

    # Lightning hooks -------------------------------------------------------------------------------------------------

    def prepare_data(self) -> None:
        """Makes the selections of the training streams, in one process, before the others read them."""
        if self._trains and (self.trainer is None or self.trainer.is_global_zero):
            found = map(self._selections.entry_for, self.streams)
            self._selections.prepare([name for name in found if name], self._examples_of, self._initial_model)

    def setup(self, stage: str | None = None) -> None:
        """Loads what ``stage`` needs, so that errors surface before training starts."""
        if stage in (None, "fit"):
            _ = self.micro_batches_per_step, self._training

    def train_dataloader(self) -> CombinedLoader:
        """Windows ``{stream: [micro-batch, ...]}``; an epoch has ``steps_per_epoch`` of them."""
        return CombinedLoader({name: self._train_loader(name) for name in self.streams}, mode="min_size")

    # Datasets, each built once ----------------------------------------------------------------------------------------

    @cached_property
    def _given(self) -> Mapping[str, Any]:
        """The streams before any selection."""
        given = self.load_streams()
        self._selections.check(list(given))
        return given

    @property
    def _sources(self) -> Mapping[str, Any]:
        return {**self._given, **self._selections.selected}

    @property
    def _training(self) -> dict[str, Any]:
        return self._load(select(self._sources, self.streams, "streams"))

    def _load(self, sources: Mapping[str, Any]) -> dict[str, Any]:
        for name in sources:
            if name not in self._loaded_streams:
                self._loaded_streams[name] = self._picked(name)
        return {name: self._loaded_streams[name] for name in sources}

    def _picked(self, name: str) -> Any:
        """The stream ``name``, with the rows that its selection keeps."""
        entry = self._selections.entry_for(name)
        if entry is None:
            return self._whole(name, name)
        choice = self._selections.choice(entry, self._examples_of, self._initial_model, self.trainer)
        whole = self._whole(self._selections.selected[name].source if entry == name else name, name)
        rows = choice.report["rows"]
        if len(whole) != rows:
            raise ValueError(
                f"The stream {name!r} has {len(whole)} rows, and {entry!r}, whose selection it follows, has {rows}. "
                f"Accepted: as many, or a selection of its own."
            )
        return self._part(whole, choice.rows.tolist())

    def _whole(self, source: str | Source, name: str) -> Any:
        """The examples of a stream before any selection, or those of the source that the selection ``name`` has."""
        key = (source, None) if isinstance(source, str) else (name, source)
        if key not in self._whole_streams:
            given = self._dataset(source, self._given[source]) if isinstance(source, str) else self._dataset(*key)
            self._whole_streams[key] = given
        return self._whole_streams[key]

    def _part(self, dataset: Any, rows: Sequence[int]) -> Any:
        return Subset(dataset, rows)

    def _initial_model(self) -> InitialModel | None:
        return None if self.reader is None else self.reader.initial_model()

    def _examples_of(self, source: str | Source, name: str, model: LoadedModel) -> StreamExamples:
        dataset = self._whole(source, name)
        batch_of = self._batch_maker(dataset)

        def batches() -> Iterator[Batch]:
            draws = [Draw(index, 0) for index in range(len(dataset))]
            return map(
                batch_of, (draws[i : i + self.eval_batch_size] for i in range(0, len(draws), self.eval_batch_size))
            )

        texts, column = partial(self._texts, dataset), partial(self._column, source)
        return StreamExamples(name, dataset, batches, model, texts, column)

    def _texts(self, dataset: Any) -> list[str]:
        raise ValueError(f"The examples of {type(self).__name__} are no texts, which a sentence encoder could read.")

    def _column(self, source: str | Source, column: str) -> Sequence[object]:
        raise ValueError(f"The examples of {type(self).__name__} have no column {column!r}; label=None is their class.")

    def _dataset(self, name: str, source: Any) -> Any:
        dataset = source() if callable(source) else source
        if not len(dataset):
            raise ValueError(f"The stream {name!r} is empty: it has no examples.")
        return dataset

    # Loaders ----------------------------------------------------------------------------------------------------------

    def _train_loader(self, name: str) -> WindowLoader:
        devices, rank = self._world
        sampler = StepSampler(
            cast(Dataset, self._training[name]),
            name,
            seed=self.seed,
            batch_size=self.batch_size,
            steps_per_epoch=self.steps_per_epoch,
            start=self._steps_done,
            num_replicas=devices,
            rank=rank,
        )
        windows = WindowDataset(
            name, seed=self.seed, micro_batch_size=self.micro_batch_size, batch_of=self._batch_function(name)
        )
        return WindowLoader(windows, sampler, self.num_workers)

    def _batch_function(self, name: str) -> "BatchOf":
        return self._batch_maker(self._loaded_streams[name])

    def _batch_maker(self, dataset: Any) -> "BatchOf":
        return BatchOf(dataset, self.collate, takes_draws=False)

    def _eval_loader(self, dataset: Sized, collate: Callable[[Sequence[Any]], Any]) -> DataLoader:
        devices, rank = self._world
        # Pads by repetition; metrics count each example once, by its index.
        sampler = DistributedSampler[object](cast(Dataset, dataset), devices, rank, shuffle=False)
        return DataLoader(
            cast(Dataset, dataset),
            batch_size=self.eval_batch_size,
            sampler=sampler if devices > 1 else None,
            num_workers=self.num_workers,
            collate_fn=collate,
        )

    @property
    def _trains(self) -> bool:
        """Whether training streams are needed: not in an evaluation, where they may be missing."""
        return self.trainer is None or self.trainer.state.fn in (None, "fit")

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
        """Optimizer steps before this one: Lightning counts them as batches, also through a checkpoint."""
        return 0 if self.trainer is None else self.trainer.fit_loop.epoch_loop.batch_progress.total.completed


class BatchOf:
    """Makes batches from draws of one dataset; can be sent to worker processes.

    Args:
        dataset: the stream's examples.
        collate: makes a batch of examples.
        takes_draws: whether the dataset is indexed by draws, which include the round, or by positions.
    """

    def __init__(self, dataset: Any, collate: Callable[[Sequence[Any]], Batch], *, takes_draws: bool) -> None:
        self.dataset = dataset
        self.collate = collate
        self.takes_draws = takes_draws

    def __call__(self, draws: Sequence[Draw]) -> Batch:
        """The batch of ``draws``."""
        return self.collate([self.dataset[draw if self.takes_draws else draw.example] for draw in draws])
