"""The ways in which the class of digits is forgotten."""

from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from experiments.studies.zeroth_order.digits import BATCHES, CountingRuntime, Digits, objectives
from unlearn_pl.combiners import MinNorm, Scalarization
from unlearn_pl.engine import Descent
from unlearn_pl.gradients import (
    AllCoordinates,
    Alternating,
    CoordinateSet,
    CoordinateWise,
    FirstOrder,
    GradientSource,
    RandomCoordinates,
    ZerothOrder,
)

Marks = Mapping[str, Tensor]
NEAR = 2.0
"""Points of accuracy within which an arm has reached the first-order one."""


@dataclass(frozen=True)
class Arm:
    """A source of gradients, and how it is used.

    Attributes:
        source: makes it.
        steps: of the optimizer, at most.
        rate: learning rate of SGD.
        clip: largest norm of the gradient; None for no clipping.
        marks: the elements that may change; None for all.
        checked_every: steps between looks at the forget accuracy; the run may end there.
    """

    source: Callable[[], GradientSource]
    steps: int
    rate: float = 0.05
    clip: float | None = 1.0
    marks: Callable[[Digits], Marks] | None = None
    checked_every: int = 10


def largest_gradients(count: int, backpropagate: bool = True) -> Callable[[Digits], Marks]:
    """The weights with the largest gradient of the forget loss.

    Args:
        count: number of weights.
        backpropagate: False to estimate the gradient from 512 random directions.
    """

    def marks(digits: Digits) -> Marks:
        model = deepcopy(digits.target)
        forget = {"forget": objectives()["forget"]}
        source: GradientSource = FirstOrder() if backpropagate else ZerothOrder(queries=512, seed=1)
        runtime = runtime_of(model, digits, forget, None, None, 0.0)
        Descent(forget, Scalarization(), gradient=source).step(next(digits.windows()), runtime)
        return largest({n: p.grad.abs() for n, p in model.named_parameters() if p.grad is not None}, count)

    return marks


def largest_weights(count: int) -> Callable[[Digits], Marks]:
    """The weights of the largest magnitude."""
    return lambda digits: largest({n: p.detach().abs() for n, p in digits.target.named_parameters()}, count)


def largest(scores: Mapping[str, Tensor], count: int) -> Marks:
    """True for the ``count`` largest scores."""
    bound = torch.cat([score.flatten() for score in scores.values()]).topk(count).values[-1]
    return {name: score >= bound for name, score in scores.items()}


def output_layer(digits: Digits) -> Marks:
    """The 250 weights of the last layer."""
    return {n: torch.full(p.shape, n.startswith("2."), dtype=torch.bool) for n, p in digits.target.named_parameters()}


def runtime_of(
    model: nn.Module, digits: Digits, parts: Mapping, marks: Marks | None, clip: float | None, rate: float
) -> CountingRuntime:
    """The runtime of a network with its optimizer."""
    optimizer = torch.optim.SGD(model.parameters(), lr=rate)
    return CountingRuntime(model, optimizer, parts, digits.spec, marks, clip)


def _coordinates(
    chosen: CoordinateSet | None = None, marks: Callable[[Digits], Marks] | None = None, steps: int = 60
) -> Arm:
    return Arm(lambda: CoordinateWise(chosen or AllCoordinates()), steps, 2.0, None, marks)


BEFORE = "before"
FIRST_ORDER = "first order"
ARMS = {
    FIRST_ORDER: Arm(FirstOrder, 200, 0.2),
    "first order, fast": Arm(FirstOrder, 60, 2.0, None),
    "16 random directions": Arm(lambda: ZerothOrder(16), 1500, 0.1),
    "16 random directions, 256 largest gradients": Arm(
        lambda: ZerothOrder(16), 1500, 0.2, marks=largest_gradients(256)
    ),
    "16 random directions, output layer": Arm(lambda: ZerothOrder(16), 1500, 0.2, marks=output_layer),
    "alternating 20 and 20": Arm(lambda: Alternating(period=20), 400, 0.2, checked_every=40),
    "256 coordinates, random, redrawn every step": _coordinates(RandomCoordinates(256, redraw_every=1)),
    "256 coordinates, random, redrawn every 50 steps": _coordinates(RandomCoordinates(256, redraw_every=50)),
    "256 coordinates, largest gradients": _coordinates(marks=largest_gradients(256)),
    "256 coordinates, largest estimated gradients": _coordinates(marks=largest_gradients(256, backpropagate=False)),
    "256 coordinates, largest weights": _coordinates(marks=largest_weights(256)),
    "250 coordinates, output layer": _coordinates(marks=output_layer),
}


def goal_after(first_order: Mapping[str, object] | None) -> float | None:
    """The forget accuracy that the other arms are to reach."""
    after = None if first_order is None else first_order["after"]
    return after["forget"] + NEAR if isinstance(after, dict) else None


def run(digits: Digits, arm: Arm, goal: float | None) -> dict[str, object]:
    """Accuracies and passes of a run, which ends once its forget accuracy is at the goal.

    Args:
        digits: data and target.
        arm: how it forgets.
        goal: forget accuracy in percent; None to take all steps.
    """
    model, parts = deepcopy(digits.target), objectives()
    marks = None if arm.marks is None else arm.marks(digits)
    runtime = runtime_of(model, digits, parts, marks, arm.clip, arm.rate)
    descent = Descent(parts, MinNorm(satisfied={"forget": 0.05}), gradient=arm.source())
    windows, start = digits.windows(), deepcopy(model)
    reached = False
    while descent.windows_closed < arm.steps and not reached:
        if descent.step(next(windows), runtime).moves:
            runtime.clip()
            runtime.optimizer.step()
        if goal is not None and descent.windows_closed % arm.checked_every == 0:
            reached = digits.accuracies(model)["forget"] <= goal
    moved = torch.stack([(a - b).square().sum() for a, b in zip(model.parameters(), start.parameters(), strict=True)])
    return {
        "steps": descent.windows_closed,
        "passes": runtime.images / sum(BATCHES.values()),
        "reached": reached or goal is None,
        "moved": moved.sum().sqrt().item(),
        "after": digits.accuracies(model),
        "relearned": digits.relearned(model),
        "rounded": digits.rounded(model),
    }
