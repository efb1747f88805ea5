"""Fictitious authors that a tiny model knows: parts of the retain set, and parts of the forget set."""

from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from functools import partial
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from torch import nn

from experiments.studies.combiners.run import World
from unlearn_pl.combiners import MinNorm
from unlearn_pl.commands.story import quiet
from unlearn_pl.data import (
    FeatureMapping,
    GradientNorm,
    MinKLoss,
    Moderate,
    NearestRows,
    Random,
    SelectedSource,
    Selector,
    SyntheticAuthorsDataModule,
)
from unlearn_pl.models.modes import evaluation_mode
from unlearn_pl.modules import UnlearningModule
from unlearn_pl.objectives import CausalLMLoss, KLDivergenceLoss, Objective, UnlearningCrossEntropyLoss
from unlearn_pl.references import FrozenReference
from unlearn_pl.types import Batch

FORGET, RETAIN, KEEP, RATE = 10, 10, 0.25, 1e-3
STEPS, LONGEST = 60, 100
"""Steps with a forget coreset; most steps of an arm that does not forget."""
CORESET_LOOKS, RETAIN_LOOKS = range(0, STEPS + 1, 20), (0, *range(16, LONGEST + 1, 2))
"""Steps after which the probabilities are computed."""
LEVEL = 0.2
"""Probability of the forget answers, relative to that before the first step, at which retain subsets are compared."""
NEIGHBORS = {"neighbors": SelectedSource(NearestRows(KEEP))}
"""The retain rows that are nearest to the forget set; no objective reads them, but every arm is watched on them."""
Selected = Mapping[str, SelectedSource]


def of_retain(selector: Selector, mix: float = 0.0) -> Selected:
    """The retain stream with the rows of ``selector``."""
    return {"retain": SelectedSource(selector, mix=mix)}


RETAIN_ARMS: Mapping[str, Callable[[int], Selected]] = {
    "all rows": lambda seed: {},
    "random": lambda seed: of_retain(Random(KEEP, seed)),
    "FM": lambda seed: of_retain(FeatureMapping(KEEP, clusters=10)),
    "FM, half random": lambda seed: of_retain(FeatureMapping(KEEP, clusters=10), mix=0.5),
    "nearest": lambda seed: of_retain(NearestRows(KEEP)),
    "farthest": lambda seed: of_retain(NearestRows(KEEP, lowest=False)),
    "moderate": lambda seed: of_retain(Moderate(KEEP)),
    "random, and neighbors as an objective": lambda seed: {
        **of_retain(Random(KEEP, seed)),
        "retain.neighbor": SelectedSource(NearestRows(KEEP)),
    },
    "random, and other random rows as an objective": lambda seed: {
        **of_retain(Random(KEEP, seed)),
        "retain.neighbor": SelectedSource(Random(KEEP, seed + 100)),
    },
    "random, twice as many": lambda seed: of_retain(Random(2 * KEEP, seed)),
}
SHARES = (0.05, 0.1, 0.25, 1.0)
CORESETS: Mapping[str, Callable[[float, int], Selector]] = {
    "random": lambda keep, seed: Random(keep, seed),
    "moderate": lambda keep, seed: Moderate(keep),
    "gradient norm": lambda keep, seed: GradientNorm(keep),
    "min-k loss": lambda keep, seed: MinKLoss(keep),
    "min-k loss, lowest": lambda keep, seed: MinKLoss(keep, lowest=True),
}


class Course(pl.Callback):
    """The probability of the answers of whole streams, on the way.

    Args:
        batches: name to all rows of a stream.
        looks: steps after which they are computed.
        level: share of the start at which the forget answers end the run; None for no end.
    """

    def __init__(self, batches: Mapping[str, Sequence[Batch]], looks: Sequence[int], level: float | None) -> None:
        self.batches = batches
        self.looks = looks
        self.level = level
        self.points: list[dict[str, float]] = []

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """The probabilities before the first step; which rows are neighbors is known now."""
        self.batches = {**self.batches, "neighbors": trainer.datamodule.sample("neighbors", 10_000)}  # type: ignore[attr-defined]
        self._look(trainer, pl_module)

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """The probabilities after some of the steps."""
        if trainer.global_step in self.looks:
            self._look(trainer, pl_module)
            if self.level is not None and self.points[-1]["forget"] <= self.level * self.points[0]["forget"]:
                trainer.should_stop = True

    @torch.no_grad()
    def _look(self, trainer: pl.Trainer, module: Any) -> None:
        with evaluation_mode(module.model):
            point = {name: _mean(module, batches) for name, batches in self.batches.items()}
        self.points.append({"step": trainer.global_step, **point})


def _mean(module: Any, batches: Sequence[Batch]) -> float:
    views = [module.spec.forward(module.model, batch, frozenset()) for batch in batches]
    counts = [float(view.count("sequences")) for view in views]
    return sum(float(view.probability()) * n for view, n in zip(views, counts, strict=True)) / sum(counts)


class Authors(SyntheticAuthorsDataModule):
    """Also the general facts as streams, so that all probabilities are made in the same way."""

    def load_streams(self) -> Mapping[str, Any]:
        """The streams, and the facts that no unlearning stream has."""
        return {**super().load_streams(), "facts": [*self.facts.real_authors, *self.facts.world_facts]}


class AuthorsWorld(World):
    """The target models of this study.

    Args:
        folder: where they are kept.
        seed: of facts, weights and order.
    """

    def __init__(self, folder: Path, seed: int) -> None:
        super().__init__(folder, seed, forget_authors=FORGET, retain_authors=RETAIN, data=Authors)
        self.model: nn.Module = self._memorized("full")

    def course(self, selected: Selected, looks: Sequence[int], level: float | None = None) -> dict[str, Any]:
        """The probabilities on the way, and the report of every selection.

        Args:
            selected: the selections of the data.
            looks: steps after which the probabilities are computed; the run ends with the last one.
            level: share of the start at which the forget answers end the run; None for no end.
        """
        whole = self._data(self._tokenizer)
        whole.setup("fit")
        watched = {name: whole.sample(name, 10_000) for name in ("forget", "retain", "facts")}
        objectives: dict[str, Objective] = {
            "forget": UnlearningCrossEntropyLoss(),
            "normal": KLDivergenceLoss(stream="retain"),
            "retain": CausalLMLoss(),
        }
        if "retain.neighbor" in selected:
            objectives["neighbor"] = CausalLMLoss(stream="retain.neighbor")
        module = UnlearningModule(
            deepcopy(self.model),
            objectives,
            MinNorm(satisfied={"forget": 0.05}),
            FrozenReference(),
            optimizer=partial(torch.optim.AdamW, lr=RATE),
        )
        course = Course(watched, looks, level)
        pl.seed_everything(self.seed, verbose=False)
        data = self._data(self._tokenizer, selected={**selected, **NEIGHBORS})
        with quiet():
            trainer = self._trainer(max_epochs=-1, max_steps=looks[-1], limit_val_batches=0, callbacks=[course])
            trainer.fit(module, data)
        return {"points": course.points, "reports": {name: dict(data.selection_report(name)) for name in selected}}


def coreset(selector: str, share: float, seed: int) -> Selected:
    """The forget stream with a share of its rows."""
    if share == 1.0:
        return {}
    return {"forget": SelectedSource(CORESETS[selector](share, seed), source="forget", anchor="retain")}
