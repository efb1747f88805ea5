"""What the benchmarks' callbacks share: collecting scores, logging metrics, writing ``results.json``."""

import os
from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal, get_args

import lightning.pytorch as pl
import torch
from lightning.pytorch.loggers import WandbLogger
from lightning.pytorch.utilities import rank_zero_warn

from unlearn_pl.metrics import PerExampleMetric
from unlearn_pl.modules import LanguageModule
from unlearn_pl.recording import Recorded, record
from unlearn_pl.results import PerExample, Results, config_hash, weights_fingerprint, write_results
from unlearn_pl.types import Detail, Reads

Stage = Literal["val", "test"]
GENERATE = ".generate"
"""How the names of dataloaders of prompts end."""

Collected = Mapping[str, Mapping[str, PerExampleMetric]]
"""Name of the dataloader to name of the score to its metric."""


class EvaluationCallback(Recorded, pl.Callback, ABC):
    """Computes a benchmark's metrics in ``validate`` and ``test``, exactly, on any number of ranks.

    The module scores, the callback collects. Evaluation dataloaders come as a dictionary, split name to loader, and
    ``validation_step`` and ``test_step`` return a dictionary with ``index [B]`` and, by the kind of their batch,

    - ``choice``, ``nll``, ``num_tokens``, each ``[B]``, for a :class:`~unlearn_pl.types.TokenBatch`;
    - ``text``, B generated answers, for a :class:`~unlearn_pl.types.PromptBatch` (loaders named ``<split>.generate``).

    Metrics that read more about every scored token ask a :class:`~unlearn_pl.modules.LanguageModule` for it; it is then
    part of the same forward. With other modules they are left out, with a warning. What no evaluation of the Trainer
    reads, a LanguageModule does not compute; a callback of your own that does read it says so with ``wish``.

    Metrics are logged as ``val/<benchmark>/<metric>`` and ``test/<benchmark>/<metric>``. ``test`` also keeps them, with
    every number per example, in the attribute ``results`` and writes them to a file (not in a ``fast_dev_run``).
    Sanity checks before training are ignored. Subclasses say which metric serves which loader and what follows.

    Attributes:
        benchmark: name of the benchmark.
        loaders: names of the dataloaders of the evaluation that runs, in their order.
        stage: ``val`` or ``test``, of the evaluation that runs.
        results: those of the last ``test``, on every rank.

    Args:
        output: file that ``test`` writes; ``results.json`` in the logger's directory when not given, or
            ``results_<benchmark>.json`` when the Trainer has several evaluations.
    """

    benchmark: ClassVar[str]

    def __init__(self, output: str | None = None) -> None:
        self.output = output
        self.results: Results | None = None
        self.loaders: list[str] = []
        self.stage: Stage = "val"
        self._collected: dict[str, dict[str, PerExampleMetric]] = {}
        self._warnings: set[str] = set()

    @abstractmethod
    def make_metrics(self, loader: str) -> Mapping[str, PerExampleMetric]:
        """Name of the score to an empty metric, for what the dataloader of that name gives; none to ignore it."""

    @abstractmethod
    def summarize(self, collected: Collected) -> tuple[dict[str, float], PerExample]:
        """The benchmark's metrics and the scores per example that they are made of.

        Runs on every rank and gives the same on each.

        Args:
            collected: name of the dataloader to name of the score to its metric.
        """

    def generation(self, loader: str) -> tuple[int | None, Sequence[str]]:
        """How answers to the prompts of a dataloader are generated; by default as the module says.

        Returns:
            Most new tokens (None for the module's own), and texts before which an answer is cut off.
        """
        return None, ()

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Make sure that no two evaluations write the same file.

        Raises:
            ValueError: if two evaluations of the Trainer do.
        """
        files = [c.output or c.file_name(trainer) for c in _evaluations(trainer)]
        if len(set(files)) < len(files):
            raise ValueError(f"Two evaluations write the same file: {files}. Give each an output of its own.")

    def file_name(self, trainer: pl.Trainer) -> str:
        """Name of the file that ``test`` writes when no ``output`` is given."""
        return "results.json" if len(_evaluations(trainer)) < 2 else f"results_{self.benchmark}.json"

    def on_validation_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Start over."""
        self.stage = "val"
        self._start(trainer.val_dataloaders, pl_module)

    def on_test_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Start over."""
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
        """Log the metrics."""
        if not trainer.sanity_checking:
            metrics, _ = self.summarize(self._collected)
            self._log(pl_module, "val", metrics)

    def on_test_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Log the metrics, keep the results and write them."""
        metrics, per_example = self.summarize(self._collected)
        if not metrics:
            self.warn_once(f"{type(self).__name__} has nothing to evaluate among the dataloaders {self.loaders}.")
        self._log(pl_module, "test", metrics)
        self._log_table(trainer, metrics)
        self.results = self._results(trainer, pl_module, metrics, per_example)
        path = self._path(trainer)
        if trainer.is_global_zero and not trainer.fast_dev_run:  # type: ignore[attr-defined]
            write_results(path, self.results)

    def warn_once(self, message: str) -> None:
        """Warn on rank 0, unless the same was said before."""
        if message not in self._warnings:
            self._warnings.add(message)
            rank_zero_warn(message)

    def _start(self, dataloaders: object, pl_module: pl.LightningModule) -> None:
        if not isinstance(dataloaders, Mapping):
            raise ValueError(
                f"{type(self).__name__} needs the evaluation dataloaders as a dictionary, split name to DataLoader, "
                f"to know which is which; they are a {type(dataloaders).__name__}."
            )
        self.loaders = list(dataloaders)
        self._collected = {
            loader: {name: metric.to(pl_module.device) for name, metric in self.make_metrics(loader).items()}
            for loader in self.loaders
        }
        if isinstance(pl_module, LanguageModule):
            for position, (loader, metrics) in enumerate(self._collected.items()):
                details = frozenset[Detail]().union(*(metric.details for metric in metrics.values()))
                longest, stop = self.generation(loader)
                pl_module.wish(position, details, longest, stop, _reads(metrics.values()))
        else:
            self._leave_out_details(pl_module)

    def _leave_out_details(self, pl_module: pl.LightningModule) -> None:
        missing = {name for metrics in self._collected.values() for name, metric in metrics.items() if metric.details}
        for loader, metrics in self._collected.items():
            self._collected[loader] = {name: metric for name, metric in metrics.items() if name not in missing}
        if missing:
            self.warn_once(
                f"{', '.join(sorted(missing))} are not computed: they need the log-probability of every token, which "
                f"{type(pl_module).__name__} does not give. Modules derived from LanguageModule do."
            )

    def _collect(self, dataloader_idx: int, outputs: Any, batch: Any) -> None:
        loader = self.loaders[dataloader_idx]
        try:
            for metric in self._collected[loader].values():
                metric.take(outputs, batch)
        except (KeyError, TypeError) as error:
            raise ValueError(
                f"The step of the dataloader {loader!r} must return a dictionary with index, choice, nll and "
                f"num_tokens (and what a LanguageModule is asked for beyond that), or index and text for '.generate' "
                f"loaders; it returned {_describe(outputs)}."
            ) from error

    def _log(self, pl_module: pl.LightningModule, stage: Stage, metrics: Mapping[str, float]) -> None:
        # fp64, because p-values underflow in fp32. Every rank has the same values: their maximum is exact, their mean
        # is not, and without sync_dist Lightning warns.
        tensors = {
            f"{stage}/{self.benchmark}/{name}": torch.tensor(value, dtype=torch.float64, device=pl_module.device)
            for name, value in metrics.items()
        }
        pl_module.log_dict(tensors, reduce_fx="max", sync_dist=True)

    def _log_table(self, trainer: pl.Trainer, metrics: Mapping[str, float]) -> None:
        rows = [[name, value] for name, value in metrics.items()]
        for logger in trainer.loggers:
            if isinstance(logger, WandbLogger):
                logger.log_table(f"test/{self.benchmark}", columns=["metric", "value"], data=rows)

    def _results(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, metrics: dict[str, float], per_example: PerExample
    ) -> Results:
        config = {
            "model": _configuration(pl_module),
            "data": _configuration(getattr(trainer, "datamodule", None)),
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
        # Asking for log_dir is a collective operation: on all ranks, or on none.
        return Path(self.output or Path(trainer.log_dir or trainer.default_root_dir) / self.file_name(trainer))


def _reads(metrics: Collection[PerExampleMetric]) -> Reads:
    """How much of a dataloader these metrics read."""
    return max((metric.reads for metric in metrics), key=get_args(Reads).index, default="nothing")


def _evaluations(trainer: pl.Trainer) -> list[EvaluationCallback]:
    callbacks: list[pl.Callback] = trainer.callbacks  # type: ignore[attr-defined]
    return [callback for callback in callbacks if isinstance(callback, EvaluationCallback)]


def question_hashes(trainer: pl.Trainer) -> dict[str, dict[int, str]]:
    """Evaluation split to index to hash of the example, from data modules that know it; else empty."""
    hashes = getattr(getattr(trainer, "datamodule", None), "question_hashes", None)
    return hashes() if hashes is not None else {}


def _configuration(component: object) -> object:
    """What is known about how ``component`` was constructed, as plain data."""
    return record(component if isinstance(component, Recorded) else getattr(component, "hparams", {}))


def _describe(outputs: object) -> str:
    return f"a dictionary with {sorted(outputs)}" if isinstance(outputs, Mapping) else f"a {type(outputs).__name__}"
