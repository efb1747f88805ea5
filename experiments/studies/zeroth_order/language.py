"""Can a tiny language model forget on forward passes alone, and does its forgetting last?

One of four fictitious authors is forgotten with MOLLM's objectives; the 2,000 weights with the largest gradients of the
forget loss are trained, by SGD with `GoalBarrier`. Goals: the forget answers as probable as under the retrained model, where
a run ends, and 90 % of the retain probability.

    python -m experiments.studies.zeroth_order.language                    # 3 seeds: about half an hour
    python -m experiments.studies.zeroth_order.language --table_only true  # the table of earlier runs

Every run is kept in `language.jsonl`; what is there already is not run again.
"""

import json
import time
from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import mean

import lightning.pytorch as pl
import torch
from jsonargparse import auto_cli
from torch import Tensor, nn

from experiments.studies.combiners.analysis import Trial
from experiments.studies.combiners.run import World
from experiments.studies.relearning.run import make_attack
from unlearn_pl.callbacks import StopAtGoals
from unlearn_pl.combiners import GoalBarrier, MinNorm
from unlearn_pl.commands.story import quiet
from unlearn_pl.goals import AtLeast, AtMost
from unlearn_pl.gradients import Alternating, FirstOrder, GradientSource, Row, ZerothOrder
from unlearn_pl.masks import ElementMask
from unlearn_pl.modules import MOLLM
from unlearn_pl.optim import Constant
from unlearn_pl.robustness import IntegerRounding, Quantization
from unlearn_pl.types import Batch, View

TRAINED = 2000
RELEARNING = make_attack(1e-3, steps=16)
ROUNDING = Quantization(IntegerRounding(bits=4, group_size=32))
FORGET, KEPT = "forget_probability", "retain_probability"
BEFORE, RETRAINED = "before", "retrained without the author"


@dataclass(frozen=True)
class Arm:
    """A source of gradients, and the most steps that it may take; every epoch has one step.

    Attributes:
        source: makes it.
        steps: at most.
        rate: learning rate of SGD; the gradient's norm is at most 1.
    """

    source: Callable[[], GradientSource]
    steps: int
    rate: float = 0.1


ARMS = {
    "first order": Arm(FirstOrder, 300),
    "16 random directions": Arm(lambda: ZerothOrder(16), 1500),
    "alternating 10 and 10": Arm(lambda: Alternating([FirstOrder(), ZerothOrder(16)], period=10), 600),
}


class Counting(MOLLM):
    """Counts forward passes of a stream; a backward pass counts as two."""

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


class Author(World):
    """One of four authors is to be forgotten; every epoch has one step."""

    def __init__(self, folder: Path, seed: int) -> None:
        super().__init__(folder, seed, forget_authors=1, retain_authors=3)

    def descend(self, module: MOLLM, steps: int, callbacks: list[pl.Callback]) -> None:
        """Train, without any evaluation."""
        pl.seed_everything(self.seed, verbose=False)
        with quiet():
            self._trainer(max_epochs=steps, limit_val_batches=0, callbacks=callbacks).fit(module, self._unlearning_data)


def marks_of(world: Author) -> dict[str, Tensor]:
    """The elements that may change, found by one backward pass."""
    still = partial(torch.optim.SGD, lr=0.0)
    module = KeepingRows(deepcopy(world.target), combiner=MinNorm(), optimizer=still, schedule=Constant())
    world.descend(module, 1, [])
    bound = torch.cat([score.flatten() for score in module.scores.values()]).topk(TRAINED).values[-1]
    return {name: score >= bound for name, score in module.scores.items()}


def unlearned(world: Author, arm: Arm, level: float) -> tuple[nn.Module, Trial]:
    """A run that ends at ``level``, or after the most steps."""
    module = Counting(
        deepcopy(world.target),
        combiner=GoalBarrier(),
        gradient=arm.source(),
        mask=ElementMask(marks_of(world)),
        optimizer=partial(torch.optim.SGD, lr=arm.rate),
        schedule=Constant(),
        goals={"forget": AtMost(level), "retain": AtLeast(share=0.9)},
    )
    world.descend(module, arm.steps, [StopAtGoals(steps=1)])
    assert module.model is not None
    return module.model, {"steps": module.windows_closed, "passes": module.passes}


def study(folder: str = "runs/zeroth_order_study", seeds: int = 3, table_only: bool = False) -> None:
    """Run what is missing, seed by seed, then print the table.

    Args:
        folder: where models and trials are kept.
        seeds: number of seeds, from 40 on.
        table_only: run nothing.
    """
    path = Path(folder) / "language.jsonl"
    trials: list[Trial] = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    done = {(trial["arm"], trial["seed"]) for trial in trials}
    for seed in range(40, 40 if table_only else 40 + seeds):
        world = Author(Path(folder) / f"authors{seed}", seed)
        level = 0.0 if table_only else world.retrained_metrics[FORGET]
        for arm in (BEFORE, RETRAINED, *ARMS):
            if (arm, seed) not in done:
                start = time.process_time()
                model, cost = measured_model(world, arm, level)
                trial = {"arm": arm, "seed": seed, **cost, **attacked(world, model)}
                trials.append(trial | {"seconds": time.process_time() - start})
                with path.open("a") as file:
                    file.write(json.dumps(trials[-1]) + "\n")
    print_table(trials)


def measured_model(world: Author, arm: str, level: float) -> tuple[nn.Module, Trial]:
    """The model of an arm, and what it cost."""
    if arm in ARMS:
        return unlearned(world, ARMS[arm], level)
    return (world.target if arm == BEFORE else world.retain_model), {"steps": 0, "passes": 0}


def attacked(world: Author, model: nn.Module) -> Trial:
    """Probabilities and utility, and the probabilities after relearning and after rounding."""
    subject = world.subject(model)
    with quiet():
        plain = subject.score(subject.pretrained(), subject.splits).metrics
        relearned = RELEARNING.run(subject).curve[FORGET]
        rounded = ROUNDING.run(subject).after
    return {
        "forget": plain[FORGET],
        "retain": plain[KEPT],
        "relearned": relearned[-1],
        "rounded": rounded[FORGET],
        "rounded_retain": rounded[KEPT],
    }


def print_table(trials: list[Trial]) -> None:
    """Means over the seeds, with their extremes."""
    figures = ("forget", "retain", "relearned", "rounded", "rounded_retain")
    print("| arm | seeds | steps | passes | P(forget) | P(retain) | relearned | 4 bits | retain, 4 bits |")
    print("|---|---|---|---|---|---|---|---|---|")
    for arm in (BEFORE, RETRAINED, *ARMS):
        runs = [trial for trial in trials if trial["arm"] == arm]
        if runs:
            cells = [f"{mean(float(run[name]) for run in runs):,.0f}" for name in ("steps", "passes")]  # type: ignore[arg-type]
            cells += [spread([float(run[name]) for run in runs]) for name in figures]  # type: ignore[arg-type]
            print(f"| {arm} | {len(runs)} | " + " | ".join(cells) + " |")


def spread(values: list[float]) -> str:
    """Mean, and extremes where there are several values."""
    extremes = f" ({min(values):.2f} to {max(values):.2f})" if len(values) > 1 else ""
    return f"{mean(values):.2f}{extremes}"


if __name__ == "__main__":
    auto_cli(study, as_positional=False)
