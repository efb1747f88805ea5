"""The context in which a reference is prepared: models, data and device."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import torch
from torch import nn

from unlearn_pl.types import Forward, Needs


class TokenExample(Protocol):
    """A tokenized example, as data modules make them."""

    @property
    def input_ids(self) -> list[int]:
        """The whole sequence, without padding."""

    @property
    def labels(self) -> list[int]:
        """``input_ids`` where scored, ``IGNORE_INDEX`` elsewhere."""

    @property
    def index(self) -> int:
        """Position in the dataset."""


@dataclass(frozen=True)
class StreamExamples:
    """The examples of a stream that training will show.

    Attributes:
        fingerprint: hash of all rows of the stream as the template and the tokenizer lay them out, shown or not.
        examples: the examples that will be shown; a row with several answers appears once per drawn answer.
    """

    fingerprint: str
    examples: Sequence[TokenExample]


@dataclass(frozen=True)
class ReferenceContext:
    """The models, the data and the device for preparing a reference.

    Attributes:
        model: the trained model, perhaps not yet on its device.
        build: builds a model with the original weights, sharded like the trained one.
        forward: runs a model of this kind on a micro-batch.
        is_original: whether ``model`` itself has the original weights at this moment.
        needs: stream to the fields of its view that its objectives need.
        examples: stream to the examples that training will show; None without a data module that provides them.
        batch_size: examples per forward.
        device: training device of this rank.
        folder: default folder for files of the reference.
        precision: the Trainer's precision.
        autocast: context in which the Trainer runs forwards.
        rank: number of this process, from 0.
        world_size: number of processes.
    """

    model: nn.Module
    build: Callable[[], nn.Module]
    forward: Forward
    is_original: bool = False
    needs: Mapping[str, Needs] = field(default_factory=dict)
    examples: Callable[[str], StreamExamples] | None = None
    batch_size: int = 1
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    folder: Path = Path("reference")
    precision: str = "32-true"
    autocast: Callable[[], AbstractContextManager[None]] = nullcontext
    rank: int = 0
    world_size: int = 1

    def original(self) -> nn.Module:
        """A model with the original weights: the trained one while it has them, else a new one."""
        return self.model if self.is_original else self.build()
