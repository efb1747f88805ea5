"""The ways in which an author is forgotten."""

from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from experiments.studies.zeroth_order.authors import Authors
from experiments.studies.zeroth_order.tables import Trial
from unlearn_pl.combiners import MinNorm
from unlearn_pl.gradients import Alternating, FirstOrder, GradientSource, Row, ZerothOrder
from unlearn_pl.masks import ElementMask
from unlearn_pl.modules import MOLLM
from unlearn_pl.optim import Constant
from unlearn_pl.types import Batch, View

BEFORE, RETRAINED = "before", "retrained without the author"
TRAINED = 500
"""Weights that may change: those with the largest gradient of the forget loss."""
BATCHES = 5
"""Optimizer steps per epoch: the answers about one author, in batches of ten, are few; retain batches alternate."""


@dataclass(frozen=True)
class Arm:
    """A source of gradients, and how it is used.

    Attributes:
        source: makes it.
        epochs: passes over the forget answers.
        rate: learning rate of SGD.
        clip: largest norm of the gradient.
    """

    source: Callable[[], GradientSource]
    epochs: int
    rate: float
    clip: float = 1.0


class Counting(MOLLM):
    """Counts forward passes per stream; a backward pass counts as two."""

    passes = 0

    def view(self, stream: str, batch: Batch) -> View:
        """Counts."""
        self.passes += 1
        return super().view(stream, batch)

    def manual_backward(self, loss: Tensor, *args: object, **options: object) -> None:
        """Counts twice."""
        self.passes += 2
        super().manual_backward(loss, *args, **options)


class KeepingRows(MOLLM):
    """Keeps the sizes of the elements of the first gradient of the forget loss."""

    scores: Mapping[str, Tensor]

    def on_rows(self, rows: Mapping[str, Row], weights: Tensor) -> None:
        """Keep them."""
        named = zip(self.trained_names, rows["forget"], strict=True)
        self.scores = {name: gradient.abs().clone() for name, gradient in named if gradient is not None}


ARMS = {
    "first order": Arm(FirstOrder, 15, 0.1),
    "16 random directions": Arm(lambda: ZerothOrder(16), 60, 0.1),
    "alternating 5 and 5": Arm(lambda: Alternating(period=5), 15, 0.1),
}


def marks_of(authors: Authors) -> dict[str, Tensor]:
    """The elements that may change, found by one backward pass."""
    still = partial(torch.optim.SGD, lr=0.0)
    module = KeepingRows(deepcopy(authors.target), optimizer=still, schedule=Constant())
    authors.fit(module, 1)
    bound = torch.cat([score.flatten() for score in module.scores.values()]).topk(TRAINED).values[-1]
    return {name: score >= bound for name, score in module.scores.items()}


def run(authors: Authors, arm: Arm) -> Trial:
    """Figures of a run."""
    module = Counting(
        deepcopy(authors.target),
        combiner=MinNorm(satisfied={"forget": 0.05}),
        gradient=arm.source(),
        mask=ElementMask(marks_of(authors)),
        optimizer=partial(torch.optim.SGD, lr=arm.rate),
        schedule=Constant(),
        gradient_clip_val=arm.clip,
    )
    authors.fit(module, arm.epochs)
    model: nn.Module | None = module.model
    assert model is not None
    figures = authors.figures(model)
    level = authors.retrained_metrics["forget_probability"]
    streams = len({stream for objective in module.objectives.values() for stream in objective.streams})
    return figures | {
        "steps": module.windows_closed,
        "passes": module.passes / streams,
        "reached": figures["forget_probability"] <= level,
    }
