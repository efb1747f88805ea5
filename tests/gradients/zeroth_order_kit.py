"""Problems for the tests of zeroth-order gradients."""

from types import SimpleNamespace

import torch
from torch import nn

from tests.runtime import FakeRuntime
from tests.specs import Classifier, small_network
from unlearn_pl.engine import LocalRuntime
from unlearn_pl.gradients import Window, window_of
from unlearn_pl.objectives import CausalLMLoss, KLDivergenceLoss, Objective, UnlearningCrossEntropyLoss

DIMENSIONS = 6


class Quadratic(Objective):
    """``(x - a)^T A (x - a) / 2``, of which central differences are exact."""

    def __init__(self, seed: int, role="retain") -> None:
        super().__init__("retain")
        self.role = role
        generator = torch.Generator().manual_seed(seed)
        root = torch.randn(DIMENSIONS, DIMENSIONS, generator=generator, dtype=torch.float64)
        self.matrix = root @ root.T / DIMENSIONS
        self.minimum = torch.randn(DIMENSIONS, generator=generator, dtype=torch.float64)

    def loss(self, view):
        away = view.x - self.minimum
        return away @ self.matrix @ away / 2


class Quadratics:
    """Three objectives of a vector that is divided over two parameters."""

    def __init__(self, dtype=torch.float64) -> None:
        generator = torch.Generator().manual_seed(9)
        start = torch.randn(DIMENSIONS, generator=generator, dtype=torch.float64)
        self.parameters = [nn.Parameter(start[:2].to(dtype)), nn.Parameter(start[2:].view(2, 2).to(dtype))]
        self.objectives = {"a": Quadratic(1, "forget"), "b": Quadratic(2), "c": Quadratic(3)}
        self.runtime = FakeRuntime(self.parameters, lambda stream, batch: SimpleNamespace(x=self.x))
        self.runtime.count = lambda batch, mean_over: torch.ones((), dtype=torch.float64)

    @property
    def x(self):
        return torch.cat([p.flatten().double() for p in self.parameters])

    def window(self, step=0) -> Window:
        return window_of({"retain": [{}]}, self.objectives, self.runtime.count, step=step)

    def jacobian(self):
        rows = []
        for objective in self.objectives.values():
            x = self.x.detach().requires_grad_()
            objective.loss(SimpleNamespace(x=x)).backward()
            rows.append(x.grad)
        return torch.stack(rows)

    @property
    def gradient(self):
        return torch.cat([p.grad.flatten().double() for p in self.parameters])


class Compared(Classifier):
    """A classifier with a divergence from the network at its start."""

    def __init__(self, dtype) -> None:
        self.frozen = small_network(4, 3, dtype).requires_grad_(False)

    def forward(self, model, batch, needs):
        view = super().forward(model, batch, needs)
        view.ref_logits = self.frozen(batch["x"]).unsqueeze(1)
        return view


def mollm():
    return {"forget": UnlearningCrossEntropyLoss(), "normal": KLDivergenceLoss(), "retain": CausalLMLoss()}


def classifier_case(dtype=torch.float64, objectives=None, lr=0.1, runtime=LocalRuntime):
    """Objectives, a runtime around a small network that is at its reference model, and the data of a step."""
    objectives = objectives or mollm()
    model, spec = small_network(4, 3, dtype), Compared(dtype)
    generator = torch.Generator().manual_seed(5)
    window = {}
    for stream, sizes in (("forget", (3, 1)), ("retain", (2, 4))):
        window[stream] = [
            {
                "x": torch.randn(size, 4, generator=generator, dtype=torch.float64).to(dtype),
                "y": torch.randint(3, (size,), generator=generator),
                "index": torch.arange(size),
            }
            for size in sizes
        ]
    return objectives, runtime(model, torch.optim.SGD(model.parameters(), lr=lr), objectives, spec), window
