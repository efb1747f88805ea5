"""``unlearn-pl fit | validate | test | predict``: a Lightning Trainer, configured in YAML and on the command line."""

import os
import time
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import yaml
from jsonargparse import Namespace
from lightning.pytorch.callbacks import ModelCheckpoint, RichProgressBar, TQDMProgressBar
from lightning.pytorch.cli import ArgsType, LightningArgumentParser, LightningCLI, SaveConfigCallback
from lightning.pytorch.loggers import CSVLogger, Logger, TensorBoardLogger, WandbLogger
from lightning.pytorch.utilities import rank_zero_info, rank_zero_only, rank_zero_warn

# Imported so that YAML files can name their classes without an import path.
from unlearn_pl import (  # noqa: F401
    attribution,
    callbacks,
    combiners,
    data,
    gradients,
    masks,
    modules,
    objectives,
    optim,
    references,
)
from unlearn_pl.callbacks import EvaluationCallback, ProgressBar, SavePredictions
from unlearn_pl.commands.parser import TrainerParser, add_config_argument, current_arguments
from unlearn_pl.commands.run.cost import write_cost
from unlearn_pl.commands.run.folder import announce_earlier_run, check_profiler, set_results_aside
from unlearn_pl.commands.run.interruption import (
    SaveOnTermination,
    drop_termination_checkpoint,
    interruptions_told,
    requeued_checkpoint,
)
from unlearn_pl.commands.run.masked_rows import without_rows
from unlearn_pl.commands.run.summary import fit_summary
from unlearn_pl.data import StreamDataModule
from unlearn_pl.masking import check_unmasked
from unlearn_pl.modules import ModelModule
from unlearn_pl.modules.checkpoints.folder_lock import locked_folder
from unlearn_pl.modules.checkpoints.last import candidates, newest_whole
from unlearn_pl.modules.lightning_internals import attached_datamodule
from unlearn_pl.modules.safety.optimizer_class import check_optimizer_path
from unlearn_pl.modules.safety.recorded_classes import find
from unlearn_pl.modules.safety.scheduler_class import check_scheduler_path
from unlearn_pl.printable import printable
from unlearn_pl.recorded_paths import check_local
from unlearn_pl.results import check_writable
from unlearn_pl.results.atomic_file import atomic_file


class UnlearnCLI(LightningCLI):
    """LightningCLI for the modules, data modules and components of this library, and for the user's own.

    All files of a run are in ``trainer.default_root_dir``: ``config_<command>.yaml`` as resolved,
    ``logs/version_N/metrics.csv``, ``checkpoints/`` and ``results.json`` (``results_<benchmark>.json`` if there are
    several evaluations).

    Args:
        args: name of the Trainer's method and its arguments.
        run: False to parse arguments without such a name, and to run nothing.
    """

    def __init__(self, args: Sequence[str], run: bool = True) -> None:
        super().__init__(
            ModelModule,
            StreamDataModule,
            args=list(args),
            run=run,
            subclass_mode_model=True,
            subclass_mode_data=True,
            auto_configure_optimizers=False,
            seed_everything_default=0,
            save_config_callback=RunConfig,
            save_config_kwargs={"overwrite": True, "save_to_log_dir": False},
            parser_class=TrainerParser,
            parser_kwargs={"prog": "unlearn-pl", "usage": "unlearn-pl"},
        )

    # The parser ------------------------------------------------------------------------------------------------------

    def init_parser(self, **kwargs: Any) -> LightningArgumentParser:
        """A parser with ``-c`` for recipes, and a usage of one line, where Lightning prints a page of arguments."""
        kwargs.setdefault("usage", "%(prog)s [-c RECIPE ...] [--SECTION.ARGUMENT VALUE ...]")
        kwargs.setdefault("dump_header", [f"lightning.pytorch=={pl.__version__}"])
        parser = self.parser_class(**kwargs)
        add_config_argument(parser)
        return parser

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Checkpoints go to ``<default_root_dir>/checkpoints``, where ``--ckpt_path last`` finds them again."""
        parser.add_lightning_class_args(ModelCheckpoint, "checkpoint")
        parser.add_argument("--tensorboard", type=bool, default=False, help="write logs for TensorBoard, too")
        # last.ckpt links to the checkpoint of the epoch: a second copy would cost gigabytes.
        # All of the validation before training instead of two batches: the summary compares with it.
        parser.set_defaults({"trainer.num_sanity_val_steps": -1})
        parser.set_defaults({"checkpoint.save_last": "link", "checkpoint.enable_version_counter": False})
        parser.link_arguments("trainer.default_root_dir", "checkpoint.dirpath", compute_fn=checkpoint_folder)

    def parse_arguments(self, parser: LightningArgumentParser, args: ArgsType) -> None:
        """Parse ``args``; Lightning's own method warns about arguments that do not come from ``sys.argv``."""
        assert isinstance(args, list)
        self.config = parser.parse_args(current_arguments(args))
        try:
            check_safe(self.config[self.config["subcommand"]] if "subcommand" in self.config else self.config)
        except ValueError as error:
            parser.error(str(error))

    def _parse_ckpt_path(self) -> None:
        """Run what is configured: Lightning would let the hyperparameters of a checkpoint file replace it."""

    # The components ---------------------------------------------------------------------------------------------------

    def instantiate_trainer(self, **kwargs: Any) -> pl.Trainer:
        """A Trainer that logs to ``<default_root_dir>/logs/version_N/metrics.csv`` by default.

        Raises:
            ValueError: if the profiler is to write outside of ``default_root_dir``.
        """
        kwargs["logger"] = self._loggers()
        trainer = super().instantiate_trainer(**kwargs)
        check_profiler(trainer)
        _narrow_progress(trainer)
        if trainer.fast_dev_run:  # type: ignore[attr-defined]
            # Lightning would still write last.ckpt, over that of a real run.
            for checkpoint in trainer.checkpoint_callbacks:
                checkpoint.save_last = False  # type: ignore[attr-defined]
        return trainer

    def _loggers(self) -> list[Logger] | bool:
        """Those of the configuration, by default a CSV file; with ``--tensorboard true`` its events as well."""
        root = self._get(self.config_init, "trainer.default_root_dir") or "."
        given = self._get(self.config_init, "trainer.logger")
        loggers = [CSVLogger(root, name="logs")] if given in (None, True) else given or []
        used: list[Logger] = list(loggers) if isinstance(loggers, Iterable) else [loggers]
        if self._get(self.config_init, "tensorboard"):
            version = getattr(used[0], "version", None) if used else None
            used.append(TensorBoardLogger(root, name="logs", version=version))
        return used or False

    def after_instantiate_classes(self) -> None:
        """Let checkpoints keep the configuration, which spells out every component."""
        self._dump_config()
        config = self.config_dump["model"]
        self.model.keep_record({"_class_path": config["class_path"], **config.get("init_args", {})})

    # The run ---------------------------------------------------------------------------------------------------------

    def before_fit(self) -> None:
        """Check that the checkpoint to resume from exists, and that the run can write; a requeued job resumes.

        Raises:
            ValueError: naming the checkpoint, if it is missing, or the folder.
        """
        root = self.trainer.default_root_dir
        checkpoints = checkpoint_folder(root)
        self.config[self.subcommand].ckpt_path = requeued_checkpoint(self.trainer, checkpoints, self._ckpt_path)
        check_checkpoint(self._ckpt_path, root)
        self._check_writable()
        for saving in self.trainer.checkpoint_callbacks:
            if getattr(saving, "dirpath", None) and self.trainer.is_global_zero:
                check_writable(saving.dirpath, "checkpoint.dirpath")  # type: ignore[attr-defined]

    def before_validate(self) -> None:
        """Check that the checkpoint to evaluate exists, and log what is evaluated without one.

        Raises:
            ValueError: naming the checkpoint, if it is missing, or the folder, if it cannot be written to.
        """
        check_checkpoint(self._ckpt_path, self.trainer.default_root_dir)
        self._check_writable()
        if self._ckpt_path is None:
            rank_zero_info("No --ckpt_path was given: the model is evaluated as it was loaded.")

    before_test = before_predict = before_validate

    def after_validate(self) -> None:
        """Warn if nothing was measured."""
        if not self.trainer.callback_metrics and not self.trainer.fast_dev_run:  # type: ignore[attr-defined]
            rank_zero_warn(
                "No metric was logged: no callback evaluates. Add one, such as --trainer.callbacks+ QAEvaluation for "
                "questions of your own, or the recipe's."
            )

    after_test = after_validate

    def _locked(self, command: str) -> AbstractContextManager[None]:
        is_trial = self.trainer.fast_dev_run  # type: ignore[attr-defined]  # it writes nothing
        return nullcontext() if is_trial else locked_folder(self.trainer.default_root_dir, command)

    @rank_zero_only
    def _check_writable(self) -> None:
        if not self.trainer.fast_dev_run:  # type: ignore[attr-defined]
            check_writable(self.trainer.default_root_dir, "trainer.default_root_dir")

    def fit(self, **kwargs: Any) -> None:
        """Train; name what an earlier run has left in the folder before, and print a summary after."""
        root, is_trial = self.trainer.default_root_dir, self.trainer.fast_dev_run  # type: ignore[attr-defined]
        if self._ckpt_path is None and not is_trial:
            announce_earlier_run(self.trainer, checkpoint_folder(root))
        saving = SaveOnTermination()
        self._callbacks.append(saving)
        start = time.monotonic()
        with self._locked("fit"), interruptions_told(self.trainer, checkpoint_folder(root), saving):
            self.trainer.fit(**kwargs)
        seconds = time.monotonic() - start
        drop_termination_checkpoint(self.trainer)
        if not is_trial and self.trainer.is_global_zero:
            write_cost(root, self.trainer, seconds)
            moved = set_results_aside(self.trainer) or []
            last = Path(checkpoint_folder(root)) / "last.ckpt"
            found = last if last.exists() else newest_whole(last.parent)
            print(printable(fit_summary(self.trainer, seconds, moved, found), keep="\n"), flush=True)

    def test(self, **kwargs: Any) -> None:
        """Evaluate, write a results file per evaluation to ``default_root_dir``, and print the metrics once."""
        evaluations = [c for c in self._callbacks if isinstance(c, EvaluationCallback)]
        for evaluation in evaluations:
            evaluation.folder = self.trainer.default_root_dir
        with self._locked("test"):
            self.trainer.test(**{**kwargs, "verbose": kwargs["verbose"] and not evaluations})
        for evaluation in evaluations:
            self._print_results(evaluation)

    def predict(self, **kwargs: Any) -> None:
        """Answer the questions of the evaluation splits and write ``<default_root_dir>/predictions.jsonl``."""
        writers = [c for c in self._callbacks if isinstance(c, SavePredictions)] or [SavePredictions()]
        self._callbacks.extend(writer for writer in writers if writer not in self._callbacks)
        with self._locked("predict"):
            self.trainer.predict(**{**kwargs, "return_predictions": False})
        for writer in writers:
            if writer.written is not None:
                self._print_written(writer.written)

    @property
    def _callbacks(self) -> list[pl.Callback]:
        return self.trainer.callbacks  # type: ignore[attr-defined]

    @rank_zero_only
    def _print_results(self, evaluation: EvaluationCallback) -> None:
        assert evaluation.results is not None
        for name, value in evaluation.results.metrics.items():
            print(printable(f"{evaluation.benchmark}/{name:<36} {value:.6g}"))
        if evaluation.written is not None:
            self._print_written(evaluation.written)

    @rank_zero_only
    def _print_written(self, path: str | Path) -> None:
        if not self.trainer.fast_dev_run:  # type: ignore[attr-defined]
            print(printable(f"Written to {path}"))

    @property
    def _ckpt_path(self) -> str | None:
        return self.config[self.subcommand].get("ckpt_path")


class RunConfig(SaveConfigCallback):
    """Writes the resolved configuration to ``<default_root_dir>/config_<command>.yaml`` and to Weights & Biases.

    Secrets, and rows that the configuration spells out, are masked.
    """

    def save_config(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Called once, on rank 0, before the run starts."""
        assert trainer.state.fn is not None
        # With arguments that are null: their default may be another. Versions of jsonargparse name this differently.
        written = self.parser.dump(self.config, "parser_mode", False)
        text = without_rows(written, attached_datamodule(trainer))
        folder = Path(trainer.default_root_dir)
        with atomic_file(folder / f"config_{trainer.state.fn.value}.yaml") as unfinished:
            unfinished.write_text(text, encoding="utf-8")
        for logger in trainer.loggers:
            if isinstance(logger, WandbLogger):
                logger.log_hyperparams({"config": yaml.safe_load(text)})


def _narrow_progress(trainer: pl.Trainer) -> None:
    """Replace Lightning's default bar, whose columns do not fit in a terminal; one that was asked for stays."""
    used: list[pl.Callback] = trainer.callbacks  # type: ignore[attr-defined]
    for position, callback in enumerate(used):
        if type(callback) in (RichProgressBar, TQDMProgressBar):
            used[position] = ProgressBar()


def check_safe(config: Namespace) -> None:
    """Check the parts of a configuration that could run code other than by building the classes that it names.

    Args:
        config: the parsed configuration of one command.

    Raises:
        ValueError: for an optimizer or a schedule that is none, for a checkpoint at an address, for ``weights_only:
            false``, and for a configuration of an earlier run in which something is masked.
    """
    check_unmasked(config)
    for argument, check in (("optimizer", check_optimizer_path), ("schedule", check_scheduler_path)):
        given = config.get(f"model.init_args.{argument}")
        if isinstance(given, Namespace):
            check(find(given.class_path), given.class_path)
        elif given is not None:
            check(given, f"{given.__module__}.{given.__qualname__}")
    check_local(config.get("ckpt_path"))
    if config.get("weights_only") is False:
        raise ValueError(
            "weights_only: false would run whatever code a checkpoint holds. Load it once in Python, in a process that "
            "may run that code, and save what you need of it with torch.save as tensors and plain data."
        )


def trainer_parser() -> LightningArgumentParser:
    """The parser of the four commands of the Trainer; nothing is built or run."""
    try:
        _ParserOnly([])
    except _Built as built:
        return built.parser
    raise AssertionError("the parser was not built")


class _Built(BaseException):
    """Carries the parser out of the constructor, which would go on to parse and run."""

    def __init__(self, parser: LightningArgumentParser) -> None:
        super().__init__()
        self.parser = parser


class _ParserOnly(UnlearnCLI):
    def parse_arguments(self, parser: LightningArgumentParser, args: ArgsType) -> None:
        raise _Built(parser)


def check_checkpoint(ckpt_path: str | None, default_root_dir: str | os.PathLike[str]) -> None:
    """Check that the checkpoint ``ckpt_path`` exists: Lightning continues without a missing ``last``.

    Args:
        ckpt_path: ``last``, a path, or a value that only Lightning can check (None, ``best``, ``hpc``, an address).
        default_root_dir: folder of the run.

    Raises:
        ValueError: naming the checkpoint and its folder, if it is missing.
    """
    if ckpt_path in (None, "best", "hpc") or ":" in str(ckpt_path):
        return
    folder = Path(checkpoint_folder(default_root_dir))
    if ckpt_path == "last":
        if not candidates(folder):
            raise ValueError(
                f"--ckpt_path last: there is no checkpoint in {str(folder)!r}. Run `unlearn-pl fit` first, with the "
                "same trainer.default_root_dir and with checkpoints."
            )
    elif not Path(str(ckpt_path)).exists():
        raise ValueError(f"--ckpt_path {ckpt_path}: there is no such checkpoint.")


def checkpoint_folder(default_root_dir: str | os.PathLike[str] | None) -> str:
    """The folder of a run's checkpoints."""
    return str(Path(default_root_dir or ".") / "checkpoints")
