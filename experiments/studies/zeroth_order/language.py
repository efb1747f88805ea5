"""Can a tiny language model forget on forward passes alone, and does its forgetting last?

One of four fictitious authors is forgotten with MOLLM's objectives and `GoalBarrier`. The 1,000 weights with the
largest `|theta g|` of the forget loss are trained, by SGD at one rate for all arms. Goals: the forget answers as
probable as under the model retrained without the author, where a run ends, and 90 % of the retain probability. Then
each model is trained on the forgotten answers again, and rounded to 4 bits.

    python -m experiments.studies.zeroth_order.language                    # 3 seeds: 6 minutes
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
from typing import Any

import lightning.pytorch as pl
import torch
from jsonargparse import auto_cli
from torch import Tensor, nn

from experiments.studies.combiners.run import World
from experiments.studies.relearning.run import make_attack
from experiments.studies.zeroth_order.digit_arms import Marks, largest
from experiments.studies.zeroth_order.tables import Trial, print_language
from unlearn_pl.combiners import GoalBarrier, MinNorm
from unlearn_pl.commands.story import quiet
from unlearn_pl.goals import AtLeast, AtMost
from unlearn_pl.gradients import Alternating, FirstOrder, GradientSource, Row, ZerothOrder
from unlearn_pl.masks import ElementMask
from unlearn_pl.modules import MOLLM
from unlearn_pl.optim import Constant
from unlearn_pl.robustness import IntegerRounding, Quantization
from unlearn_pl.types import Batch, View

TRAINED = 1000
RATE = 1.5
"""Of SGD, tried on seed 40 alone; the gradient's norm is at most 1."""
RELEARNING = make_attack(1e-3, steps=16)
ROUNDING = Quantization(IntegerRounding(bits=4, group_size=32))
FORGET, KEPT = "forget_probability", "retain_probability"
BEFORE, RETRAINED = "before", "retrained without the author"
NOTHING: Trial = {"steps": 0, "passes": 0, "reached": False, "moved": 0.0}


@dataclass(frozen=True)
class Arm:
    """A source of gradients, and when its run ends.

    Attributes:
        source: makes it.
        steps: at most; every epoch has one step.
        ends_every: the run may end after a multiple of these steps.
    """

    source: Callable[[], GradientSource]
    steps: int
    ends_every: int = 1


ARMS = {
    "first order": Arm(FirstOrder, 150),
    "32 random directions": Arm(lambda: ZerothOrder(32), 150),
    "alternating 5 and 5": Arm(lambda: Alternating([FirstOrder(), ZerothOrder(32)], period=5), 150, ends_every=10),
}


class Ends(pl.Callback):
    """Ends a run at weights where the goals hold, after full turns of the sources.

    Goals are measured on the way to a step, so that this step is undone.

    Args:
        every: steps of a turn.
    """

    def __init__(self, every: int) -> None:
        self.every = every

    def on_train_batch_start(self, trainer: pl.Trainer, pl_module: Any, batch: Any, batch_idx: int) -> None:
        """Keep the weights."""
        self._weights = [parameter.detach().clone() for parameter in pl_module.trained_parameters]

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Stop if the goals held there and a turn was over."""
        if pl_module.descent.goals.reached and (pl_module.windows_closed - 1) % self.every == 0:
            trainer.should_stop = True
            with torch.no_grad():
                for parameter, weights in zip(pl_module.trained_parameters, self._weights, strict=True):
                    parameter.copy_(weights)


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
    """Keeps ``|theta g|`` of the first gradient of the forget loss, element by element."""

    scores: Mapping[str, Tensor]

    def on_rows(self, rows: Mapping[str, Row], weights: Tensor) -> None:
        """Keep them."""
        named = zip(self.trained_names, self.trained_parameters, rows["forget"], strict=True)
        self.scores = {name: (p.detach() * g).abs() for name, p, g in named if g is not None}


class Author(World):
    """One of four authors is to be forgotten; every epoch has one step."""

    def __init__(self, folder: Path, seed: int) -> None:
        super().__init__(folder, seed, forget_authors=1, retain_authors=3)

    def descend(self, module: MOLLM, steps: int, callbacks: list[pl.Callback]) -> None:
        """Train, without any evaluation."""
        pl.seed_everything(self.seed, verbose=False)
        with quiet():
            self._trainer(max_epochs=steps, limit_val_batches=0, callbacks=callbacks).fit(module, self._unlearning_data)


def marks_of(world: Author) -> Marks:
    """The elements that may change, found by one backward pass."""
    still = partial(torch.optim.SGD, lr=0.0)
    module = KeepingRows(deepcopy(world.target), combiner=MinNorm(), optimizer=still, schedule=Constant())
    world.descend(module, 1, [])
    return largest(module.scores, TRAINED)


def unlearned(world: Author, arm: Arm, level: float) -> tuple[nn.Module, Trial]:
    """A run that ends at ``level``, or after the most steps."""
    module = Counting(
        deepcopy(world.target),
        combiner=GoalBarrier(),
        gradient=arm.source(),
        mask=ElementMask(marks_of(world)),
        optimizer=partial(torch.optim.SGD, lr=RATE),
        schedule=Constant(),
        gradient_clip_val=1.0,
        goals={"forget": AtMost(level), "retain": AtLeast(share=0.9)},
    )
    world.descend(module, arm.steps, [Ends(arm.ends_every)])
    assert module.model is not None
    pairs = zip(module.model.parameters(), world.target.parameters(), strict=True)
    moved = torch.stack([(now - before).square().sum() for now, before in pairs]).sum().sqrt().item()
    return module.model, {
        "steps": module.windows_closed,
        "passes": module.passes / 2,  # a pass of a step's data is one of each stream
        "reached": module.descent.goals.reached,
        "moved": moved,
    }


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
    print_language(trials)


def measured_model(world: Author, arm: str, level: float) -> tuple[nn.Module, Trial]:
    """The model of an arm, and what it cost."""
    if arm in ARMS:
        return unlearned(world, ARMS[arm], level)
    return (world.target if arm == BEFORE else world.retain_model), NOTHING


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


if __name__ == "__main__":
    auto_cli(study, as_positional=False)
