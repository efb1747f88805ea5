"""What a reference may use to get ready."""

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
        fingerprint: hash of the stream's rows as the template and the tokenizer lay them out, seen or not.
        examples: what will be seen; a row with several answers once for each of those that are drawn.
    """

    fingerprint: str
    examples: Sequence[TokenExample]


@dataclass(frozen=True)
class ReferenceContext:
    """The models, the data and the place in which a reference gets ready.

    Attributes:
        model: the trained model, perhaps not yet on its device.
        build: makes a model with the original weights, sharded as the trained one is.
        forward: runs a model of this kind on a micro-batch.
        is_original: whether ``model`` itself has the original weights at this moment.
        needs: stream to all that its objectives need of a view.
        examples: stream to the examples that training will show; None without a data module that knows them.
        batch_size: examples per forward.
        device: where this rank trains.
        folder: where a reference may keep files, unless told otherwise.
        precision: the Trainer's precision.
        autocast: context in which the Trainer runs forwards.
        rank: number of this process.
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
        """A model with the original weights: the trained one while it has them, else one that is built."""
        return self.model if self.is_original else self.build()
