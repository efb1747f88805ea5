"""A model under attack, of any kind: its folder, its data, and how attacks run it."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal, Protocol

import lightning.pytorch as pl
import torch
from lightning.pytorch.plugins.precision import Precision as PrecisionPlugin
from lightning.pytorch.utilities.seed import isolate_rng
from torch import nn

from unlearn_pl.callbacks import ProgressBar
from unlearn_pl.data import StreamDataModule
from unlearn_pl.modules import PretrainedModule

Precision = Literal["32-true", "bf16-mixed", "bf16-true", "64-true"]
FORGET, RETAIN = "forget", "retain"
"""Names of the forget and the retain split in metrics, regardless of their names in the data."""


class Leakage(Protocol):
    """How much of what was to be forgotten a model reveals."""

    @property
    def metrics(self) -> Mapping[str, float]:
        """``<split>_<score>`` to a value in [0, 1]."""

    def rows(self, split: str) -> Mapping[str, Sequence[float]]:
        """The same of every row of ``split``, in their order."""


@dataclass(frozen=True)
class Attacked(ABC):
    """A model under attack: its folder, which attacks only read, and its evaluation data.

    Attributes:
        model: folder of the model.
        data: data module with what was to be forgotten and retained.
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
    data: StreamDataModule
    forget_split: str = FORGET
    retain_split: str | None = RETAIN
    seed: int = 0
    max_new_tokens: int = 64
    accelerator: str = "auto"
    precision: Precision = "32-true"
    progress: bool = False
    full: Mapping[str, float] = field(default_factory=dict)

    @abstractmethod
    def check(self) -> None:
        """Check that the model and the splits exist, without loading the model.

        Raises:
            ValueError: if one is missing; the message names it.
        """

    @abstractmethod
    def contents(self) -> Iterator[str]:
        """What the rows of both splits hold, as text: outcomes depend on it."""

    @abstractmethod
    def build(self) -> nn.Module:
        """The model, loaded from its folder in the dtype of the precision."""

    @abstractmethod
    def pretrained(self) -> PretrainedModule:
        """A module with the model in the folder."""

    @abstractmethod
    def unattacked(self) -> Leakage:
        """The leakage of both splits without an attack."""

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
