"""Two kinds of models of a user's own, each in a few lines, with data and a loss: a classifier and a denoiser."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from unlearn_pl.data import StreamDataModule
from unlearn_pl.functional import ExampleRandom
from unlearn_pl.models import ModelSpec, class_view
from unlearn_pl.objectives import Objective


def small_network(inputs: int, outputs: int, dtype: torch.dtype | None) -> nn.Module:
    """The same random weights at every call."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        single = {"dtype": torch.float32}  # whatever the default is, the same numbers are drawn
        layers = [nn.Linear(inputs, 16, **single), nn.Tanh(), nn.Linear(16, outputs, **single)]
        return nn.Sequential(*layers).to(dtype or torch.float32)


class Classifier(ModelSpec):
    """A network on vectors; the class of an example is its only token."""

    def build(self, precision_dtype=None):
        return small_network(4, 3, precision_dtype)

    def forward(self, model, batch, needs):
        return class_view(model(batch["x"]), batch["y"], batch["index"])

    def count(self, batch, mean_over):
        return batch["y"].new_tensor(len(batch["y"]), dtype=torch.float64)


class Denoiser(ModelSpec):
    """A network that predicts the noise in noisy vectors."""

    def build(self, precision_dtype=None):
        return small_network(5, 4, precision_dtype)

    def forward(self, model, batch, needs):
        random, x = ExampleRandom(batch["seeds"]), batch["x"]
        level = (random.integers(9) + 1).unsqueeze(1).to(x) / 10
        noise = random.normal(x.shape[1:], x.dtype)
        noisy = (1 - level).sqrt() * x + level.sqrt() * noise
        return DenoisingView(batch["index"], model(torch.cat([noisy, level], dim=1)), noise)

    def count(self, batch, mean_over):
        return batch["x"].new_tensor(len(batch["x"]), dtype=torch.float64)


@dataclass
class DenoisingView:
    """``[B]`` positions, ``[B, D]`` predicted and true noise."""

    index: Tensor
    prediction: Tensor
    target: Tensor

    def count(self, mean_over):
        return self.prediction.new_tensor(len(self.prediction), dtype=torch.float64)


class NoisePredictionLoss(Objective):
    """``sign |prediction - target|^2``, mean over examples."""

    needs = frozenset({"prediction", "target"})

    def __init__(self, stream: str, sign: float = 1.0) -> None:
        super().__init__(stream)
        self.sign = sign

    def loss(self, view):
        return self.sign * (view.prediction - view.target).square().sum(dim=1).mean()


class Vectors(StreamDataModule):
    """Random vectors with classes; no tokenizer anywhere."""

    def load_streams(self):
        generator = torch.Generator().manual_seed(1)
        return {name: self._examples(count, generator) for name, count in (("forget", 16), ("retain", 20))}

    @staticmethod
    def _examples(count, generator):
        x = torch.randn(count, 4, generator=generator, dtype=torch.float64)
        return [{"x": x[i], "y": torch.tensor(i % 3)} for i in range(count)]
