"""Base class of evaluations: collects scores, computes and logs metrics, writes ``results.json``."""

import inspect
import math
import os
from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar, Literal, get_args

import lightning.pytorch as pl
import torch
from lightning.pytorch.utilities import rank_zero_info, rank_zero_warn

from unlearn_pl.callbacks.described.described import Described
from unlearn_pl.callbacks.export.tracking import keep_before_and_after, keep_table
from unlearn_pl.metrics import PerExampleMetric
from unlearn_pl.metrics.scores import mean_score
from unlearn_pl.modules import ModelModule
from unlearn_pl.modules.lightning_internals import attached_datamodule
from unlearn_pl.recording import Recorded, arguments_of, record
from unlearn_pl.results import (
    PerExample,
    Results,
    check_writable,
    config_hash,
    free_path,
    read_results,
    weights_fingerprint,
    write_results,
)
from unlearn_pl.types import Detail, Reads, StreamProvider

Stage = Literal["val", "test"]
GENERATE = ".generate"
"""Ending of the names of dataloaders of prompts."""

Collected = Mapping[str, Mapping[str, PerExampleMetric]]
"""Name of the dataloader to name of the score to its metric."""

Arguments = Mapping[str, object]
"""Arguments of a callback by name, as plain data; those at their defaults may be absent."""

NO_ARGUMENTS: Arguments = MappingProxyType({})


class EvaluationCallback(Described, Recorded, pl.Callback, ABC):
    """Computes the metrics of a benchmark in ``validate`` and ``test``, exactly, on any number of ranks.

    The module scores, the callback collects. Evaluation dataloaders are a dictionary, split name to loader, and
    ``validation_step`` and ``test_step`` return a dictionary with ``index [B]`` and, depending on the batch,

    - ``choice``, ``nll``, ``num_tokens``, each ``[B]``, for a :class:`~unlearn_pl.types.TokenBatch`;
    - ``text``, B generated answers, for a :class:`~unlearn_pl.types.PromptBatch` (loaders named ``<split>.generate``).

    Metrics that read per-token statistics request them from a :class:`~unlearn_pl.modules.ModelModule`, which
    computes them in the same forward. With other modules these metrics are dropped, with a warning. A ModelModule
    skips everything that no evaluation of the Trainer reads; other callbacks that read it request it with ``wish``.

    Metrics are logged as ``val/<benchmark>/<metric>`` and ``test/<benchmark>/<metric>``. ``test`` also keeps them, with
    every score per example, in the attribute ``results`` and writes them to a file (except in a ``fast_dev_run``). By
    default it keeps what is there: results of other weights stay, and the new ones get a name with a fingerprint. A
    file that ``output`` names is replaced.

    Sanity checks before training are not logged. If they are complete (``num_sanity_val_steps=-1``), they are the
    metrics ``before`` training.

    A subclass names its ``benchmark`` and writes :meth:`make_metrics`. If its metrics are not the means of the scores,
    it overrides :meth:`metrics_of`; if its scores per example are not those of its metrics, :meth:`scores_of`.
    ``unlearn-pl compare`` finds the class by the path in ``results.json``, and computes the intervals of its metrics
    with :meth:`metrics_of`. ``directions`` say which values of a metric are better, ``headline`` which metrics a report
    quotes, and ``definitions`` what they are; see :class:`~unlearn_pl.callbacks.described.described.Described`.

    Attributes:
        benchmark: name of the benchmark.
        against_retain: metrics that compare with a retain model, and mean something else without one.
        neutral_arguments: arguments of the constructor without influence on the numbers.
        loaders: names of the dataloaders of the current evaluation, in their order.
        stage: ``val`` or ``test``, of the current evaluation.
        retain_scores: scores of the retain model, for :meth:`metrics_of`; subclasses set it in ``setup``.
        results: those of the last ``test``, on every rank.
        written: the file that the last ``test`` wrote, on rank 0.
        folder: folder of that file without ``output``; the logger's directory if None.
        before: metrics before the first step of ``fit``, if they were computed.
        after: metrics of the last validation in ``fit``.
        after_scores: the scores per example that they are computed from.

    Args:
        output: file that ``test`` writes; by default ``results.json`` in the logger's directory, or
            ``results_<benchmark>.json`` if the Trainer has several evaluations.
    """

    benchmark: ClassVar[str]
    against_retain: ClassVar[frozenset[str]] = frozenset()
    neutral_arguments: ClassVar[frozenset[str]] = frozenset({"output", "retain_results"})

    def __init__(self, output: str | None = None) -> None:
        self.output = output
        self.results: Results | None = None
        self.written: Path | None = None
        self.folder: str | None = None
        self.before: Mapping[str, float] | None = None
        self.after: Mapping[str, float] | None = None
        self.after_scores: PerExample = {}
        self.retain_scores: PerExample | None = None
        self.loaders: list[str] = []
        self.stage: Stage = "val"
        self._collected: dict[str, dict[str, PerExampleMetric]] = {}
        self._warnings: set[str] = set()

    @abstractmethod
    def make_metrics(self, loader: str) -> Mapping[str, PerExampleMetric]:
        """Name of the score to a new metric, for the dataloader of that name; empty to ignore the dataloader."""

    @classmethod
    def metrics_of(
        cls, per_example: PerExample, retain: PerExample | None = None, arguments: Arguments = NO_ARGUMENTS
    ) -> dict[str, float]:
        """The metrics, as a pure function of the scores per example; by default ``{split}_{score}``, the means.

        An evaluation calls it once. A comparison calls it for every draw of its bootstrap, in which indices are those
        of the draw and some scores may be missing; a metric without its scores must be absent from the result.

        Args:
            per_example: split to score to index to value, as in ``results.json``.
            retain: the same of the retain model, see :meth:`read_retain_scores`; None if there is none.
            arguments: those of the callback, as recorded in ``results.json``.

        Returns:
            Name of the metric to value. Metrics that are random or slow to compute, such as intervals, do not belong
            here; :meth:`summarize` may add them.
        """
        return {
            f"{split}_{score}": mean_score(values)
            for split, table in per_example.items()
            for score, values in table.items()
            if values
        }

    @classmethod
    def read_retain_scores(cls, path: str, arguments: Arguments = NO_ARGUMENTS) -> PerExample:
        """The scores of a retain model that :meth:`metrics_of` compares with; by default all of a ``results.json``.

        Args:
            path: evaluation of the retain model.
            arguments: those of the callback.

        Raises:
            ValueError: if the file does not hold them.
        """
        return read_results(path).per_example

    @classmethod
    def default_arguments(cls) -> dict[str, object]:
        """Arguments of the constructor that change the numbers, with their defaults as plain data."""
        parameters = inspect.signature(cls).parameters.values()
        return {
            parameter.name: record(parameter.default)
            for parameter in parameters
            if parameter.name not in cls.neutral_arguments and parameter.default is not parameter.empty
        }

    def scores_of(self, collected: Collected) -> PerExample:
        """Split to score to index to value; those of ``<split>.generate`` stand with those of ``<split>``.

        Runs on every rank and returns the same on each.

        Args:
            collected: name of the dataloader to name of the score to its metric.
        """
        scores: dict[str, dict[str, dict[int, float]]] = {}
        for loader, metrics in collected.items():
            if metrics:
                columns = [column for name, metric in metrics.items() for column in metric.columns(name).items()]
                scores.setdefault(loader.removesuffix(GENERATE), {}).update(columns)
        return scores

    def summarize(self, collected: Collected) -> tuple[dict[str, float], PerExample]:
        """The metrics, and the scores per example that they are computed from.

        Runs on every rank and returns the same on each.

        Args:
            collected: name of the dataloader to name of the score to its metric.
        """
        per_example = self.scores_of(collected)
        return self.metrics_of(per_example, self.retain_scores, arguments_of(self)), per_example

    def generation(self, loader: str) -> tuple[int | None, Sequence[str]]:
        """Options of generation for the prompts of a dataloader; by default those of the module.

        Returns:
            Maximum number of new tokens (None for the module's), and texts before which an answer is cut off.
        """
        return None, ()

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Check that no two evaluations write the same file.

        Raises:
            ValueError: if two evaluations of the Trainer would.
        """
        files = [c.output or c.file_name(trainer) for c in _evaluations(trainer)]
        if len(set(files)) < len(files):
            raise ValueError(f"Two evaluations write the same file: {files}. Give each an output of its own.")

    def file_name(self, trainer: pl.Trainer) -> str:
        """Name of the file that ``test`` writes without ``output``."""
        return "results.json" if len(_evaluations(trainer)) < 2 else f"results_{self.benchmark}.json"

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Forget the metrics of an earlier run."""
        self.before = self.after = None
        self.after_scores = {}

    def on_fit_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Add the metrics to the summary of Weights & Biases."""
        keep_before_and_after(trainer, self.benchmark, self.before, self.after)

    def on_validation_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Start with new metrics."""
        self.stage = "val"
        self._start(trainer.val_dataloaders, pl_module)

    def on_test_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Start with new metrics."""
        path = self._path(trainer)
        if trainer.is_global_zero and not trainer.fast_dev_run:  # type: ignore[attr-defined]
            check_writable(path.parent, type(self).__name__)  # before hours of evaluation, and not after
        self.stage = "test"
        self._start(trainer.test_dataloaders, pl_module)

    def on_validation_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Collect the scores of a batch."""
        self._collect(dataloader_idx, outputs, batch)

    def on_test_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Collect the scores of a batch."""
        self._collect(dataloader_idx, outputs, batch)

    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Log the metrics; those before training are kept only."""
        if trainer.sanity_checking:
            if math.isinf(trainer.num_sanity_val_steps):  # a part of the questions says little
                self.before, _ = self.summarize(self._collected)
            return
        self.after, self.after_scores = self.summarize(self._collected)
        self._log(pl_module, "val", self.after)

    def on_test_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Log the metrics; keep and write the results."""
        metrics, per_example = self.summarize(self._collected)
        if not metrics:
            self.warn_once(f"{type(self).__name__} has nothing to evaluate among the dataloaders {self.loaders}.")
        self._log(pl_module, "test", metrics)
        rows = [{"metric": name, "value": value} for name, value in metrics.items()]
        keep_table(trainer, f"test/{self.benchmark}", rows)
        self.results = self._results(trainer, pl_module, metrics, per_example)
        preferred = self._path(trainer)
        if trainer.is_global_zero and not trainer.fast_dev_run:  # type: ignore[attr-defined]
            self.written = Path(self.output) if self.output else free_path(preferred, self.results)
            if self.written != preferred:
                rank_zero_info(
                    f"{preferred} has the results of other weights or questions, and stays. This evaluation is in "
                    f"{self.written}."
                )
            write_results(self.written, self.results)

    def warn_once(self, message: str) -> None:
        """Warn on rank 0, unless this callback has given the same warning before."""
        if message not in self._warnings:
            self._warnings.add(message)
            rank_zero_warn(message)

    def _start(self, dataloaders: object, pl_module: pl.LightningModule) -> None:
        if not isinstance(dataloaders, Mapping):
            raise ValueError(
                f"{type(self).__name__} needs the evaluation dataloaders as a dictionary, split name to DataLoader; "
                f"they are a {type(dataloaders).__name__}."
            )
        self.loaders = list(dataloaders)
        self._collected = {
            loader: {name: metric.to(pl_module.device) for name, metric in self.make_metrics(loader).items()}
            for loader in self.loaders
        }
        if isinstance(pl_module, ModelModule):
            for position, (loader, metrics) in enumerate(self._collected.items()):
                details = frozenset[Detail]().union(*(metric.details for metric in metrics.values()))
                longest, stop = self.generation(loader)
                pl_module.wish(position, details, longest, stop, _reads(metrics.values()))
        else:
            self._drop_details(pl_module)

    def _drop_details(self, pl_module: pl.LightningModule) -> None:
        missing = {name for metrics in self._collected.values() for name, metric in metrics.items() if metric.details}
        for loader, metrics in self._collected.items():
            self._collected[loader] = {name: metric for name, metric in metrics.items() if name not in missing}
        if missing:
            self.warn_once(
                f"{', '.join(sorted(missing))} are not computed: they need the log-probability of every token, which "
                f"{type(pl_module).__name__} does not return. Subclasses of ModelModule do."
            )

    def _collect(self, dataloader_idx: int, outputs: Any, batch: Any) -> None:
        loader = self.loaders[dataloader_idx]
        try:
            for metric in self._collected[loader].values():
                metric.take(outputs, batch)
        except (KeyError, TypeError) as error:
            raise ValueError(
                f"The step of the dataloader {loader!r} must return a dictionary with index, choice, nll and "
                f"num_tokens (and the requested per-token statistics), or with index and text for '.generate' "
                f"loaders; it returned {_describe(outputs)}."
            ) from error

    def _log(self, pl_module: pl.LightningModule, stage: Stage, metrics: Mapping[str, float]) -> None:
        # fp64, because p-values underflow in fp32. All ranks have the same values, whose maximum is exact and whose
        # mean is not; without sync_dist Lightning warns.
        tensors = {
            f"{stage}/{self.benchmark}/{name}": torch.tensor(value, dtype=torch.float64, device=pl_module.device)
            for name, value in metrics.items()
        }
        pl_module.log_dict(tensors, reduce_fx="max", sync_dist=True)

    def _results(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, metrics: dict[str, float], per_example: PerExample
    ) -> Results:
        config = {
            "model": _configuration(pl_module),
            "data": _configuration(attached_datamodule(trainer)),
            "evaluation": _configuration(self),
        }
        model = getattr(pl_module, "model", pl_module)
        seed = os.environ.get("PL_GLOBAL_SEED")
        return Results(
            benchmark=self.benchmark,
            metrics=metrics,
            per_example=per_example,
            config=config,
            config_hash=config_hash(config),
            weights_fingerprint=weights_fingerprint(model),
            model=str(getattr(pl_module, "model_name", None) or type(model).__name__),
            questions=question_hashes(trainer),
            seed=None if seed is None else int(seed),
        )

    def _path(self, trainer: pl.Trainer) -> Path:
        # Reading log_dir is a collective operation: on all ranks, or on none; folder is the same on all.
        folder = self.folder or trainer.log_dir or trainer.default_root_dir
        return Path(self.output or Path(folder) / self.file_name(trainer))


def _reads(metrics: Collection[PerExampleMetric]) -> Reads:
    """The part of a dataloader that these metrics read."""
    return max((metric.reads for metric in metrics), key=get_args(Reads).index, default="nothing")


def _evaluations(trainer: pl.Trainer) -> list[EvaluationCallback]:
    callbacks: list[pl.Callback] = trainer.callbacks  # type: ignore[attr-defined]
    return [callback for callback in callbacks if isinstance(callback, EvaluationCallback)]


def question_hashes(trainer: pl.Trainer) -> dict[str, dict[int, str]]:
    """Evaluation split to index to hash of the example; empty for data modules without such hashes."""
    data = attached_datamodule(trainer)
    return data.question_hashes() if isinstance(data, StreamProvider) else {}


def _configuration(component: object) -> object:
    """The arguments of ``component`` as plain data, as far as they are known."""
    return record(component if isinstance(component, Recorded) else getattr(component, "hparams", {}))


def _describe(outputs: object) -> str:
    return f"a dictionary with {sorted(outputs)}" if isinstance(outputs, Mapping) else f"a {type(outputs).__name__}"
