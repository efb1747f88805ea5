"""The ``unlearn-pl`` command: Lightning's ``fit``, ``validate``, ``test``, ``predict``, and the commands of this library."""

import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import yaml
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI, SaveConfigCallback
from lightning.pytorch.loggers import CSVLogger, WandbLogger

import unlearn_pl
from unlearn_pl import callbacks, combiners, data, gradients, masks, modules, objectives, optim, references  # noqa: F401
from unlearn_pl.commands import demo
from unlearn_pl.data import UnlearningDataModule
from unlearn_pl.modules import LanguageModule

COMMANDS: dict[str, tuple[Callable[[Sequence[str]], None], str]] = {
    "demo": (demo.main, "The whole story offline on a laptop: train, unlearn, evaluate, report."),
}
"""Commands that are not a Trainer's: name to function and help."""

DESCRIPTION = """LLM unlearning with PyTorch Lightning.

further commands:
""" + "\n".join(f"  {name:<10} {help_}" for name, (_, help_) in COMMANDS.items())


def main(args: Sequence[str] | None = None) -> None:
    """Run ``unlearn-pl ARGS``.

    Args:
        args: what stands behind the command's name; the process's own arguments by default.
    """
    args = list(sys.argv[1:] if args is None else args)
    if str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))  # `class_path: my_package.MyLoss` in a user's own folder
    if args and args[0] in COMMANDS:
        COMMANDS[args[0]][0](args[1:])
    else:
        UnlearnCLI(args)


class UnlearnCLI(LightningCLI):
    """LightningCLI for any module, data module and component of this library or of the user's own.

    Args:
        args: the command line.
    """

    def __init__(self, args: Sequence[str]) -> None:
        super().__init__(
            LanguageModule,
            UnlearningDataModule,
            args=list(args),
            subclass_mode_model=True,
            subclass_mode_data=True,
            auto_configure_optimizers=False,
            seed_everything_default=0,
            save_config_callback=RunConfig,
            save_config_kwargs={"overwrite": True, "save_to_log_dir": False},
            parser_kwargs={"version": unlearn_pl.__version__, "description": DESCRIPTION},
        )

    def init_parser(self, **kwargs: Any) -> LightningArgumentParser:
        """Keep the line breaks of the description."""
        from jsonargparse import DefaultHelpFormatter

        class LineBreaks(DefaultHelpFormatter):
            def _fill_text(self, text: str, width: int, indent: str) -> str:
                return "\n".join(indent + line for line in text.splitlines())

        return super().init_parser(**{"formatter_class": LineBreaks, **kwargs})

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Checkpoints go to ``<default_root_dir>/checkpoints``, where ``--ckpt_path last`` finds them again."""
        parser.add_lightning_class_args(ModelCheckpoint, "checkpoint")
        parser.set_defaults({"checkpoint.save_last": True, "checkpoint.enable_version_counter": False})
        parser.link_arguments("trainer.default_root_dir", "checkpoint.dirpath", compute_fn=_checkpoint_folder)

    def instantiate_trainer(self, **kwargs: Any) -> pl.Trainer:
        """A Trainer that logs to ``<default_root_dir>/logs/version_N/metrics.csv`` unless told otherwise."""
        if self._get(self.config_init, "trainer.logger") in (None, True):
            kwargs["logger"] = CSVLogger(self._get(self.config_init, "trainer.default_root_dir") or ".", name="logs")
        return super().instantiate_trainer(**kwargs)

    def after_instantiate_classes(self) -> None:
        """Let checkpoints keep the configuration, in which every component is spelled out."""
        config = self.config_dump["model"]
        self.model.keep_record({"_class_path": config["class_path"], **config.get("init_args", {})})

    def before_validate(self) -> None:
        """Refuse to evaluate anything but the checkpoint that was asked for."""
        self._check_checkpoint()

    before_test = before_predict = before_validate

    def _check_checkpoint(self) -> None:
        path = self.config[self.subcommand].get("ckpt_path")
        if path in (None, "best", "hpc"):
            return  # no checkpoint asked for, or Lightning raises by itself
        folder = Path(_checkpoint_folder(self.trainer.default_root_dir))
        found = list(folder.glob("last*.ckpt")) if path == "last" else [Path(path)]
        if not any(candidate.exists() for candidate in found):
            raise ValueError(
                f"--ckpt_path {path}: there is no such checkpoint"
                + (
                    f" in {folder}; run `unlearn-pl fit` with the same trainer.default_root_dir."
                    if path == "last"
                    else "."
                )
            )


def _checkpoint_folder(default_root_dir: str | os.PathLike[str] | None) -> str:
    return str(Path(default_root_dir or ".") / "checkpoints")


class RunConfig(SaveConfigCallback):
    """Writes the resolved configuration to ``<default_root_dir>/config_<stage>.yaml`` and to Weights & Biases."""

    def save_config(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Called once, on rank 0, before the run starts."""
        text = self.parser.dump(self.config, skip_none=False)
        folder = Path(trainer.default_root_dir)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"config_{trainer.state.fn.value}.yaml").write_text(text)
        for logger in trainer.loggers:
            if isinstance(logger, WandbLogger):
                logger.log_hyperparams({"config": yaml.safe_load(text)})
