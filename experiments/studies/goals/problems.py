"""The problems of the study of regret: what is to be forgotten, by which losses, in how many steps."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from experiments.studies.combiners.run import World
from unlearn_pl.combiners import Scalarization
from unlearn_pl.data import SyntheticAuthorsDataModule
from unlearn_pl.data.text.encoder import Row, RowSource
from unlearn_pl.modules import MOLLM, NPO, GradDiff, SimNPO, UnlearningModule
from unlearn_pl.objectives import CausalLMLoss, UnlearningCrossEntropyLoss

RATES = (1e-3, 3e-3, 9e-3)
STEEP = tuple(2.0**k for k in range(-4, 5))
GENTLE = tuple(2.0**k for k in range(-6, 3))


class FactsOfTheSamePeople(SyntheticAuthorsDataModule):
    """Every second answer about each author is to be forgotten, and the others are to be kept.

    Neighboring authors alternate, so that every kind of question is asked in both sets.
    """

    def load_streams(self) -> Mapping[str, RowSource]:
        """``forget`` and ``retain`` divide the answers about each author."""
        return {**super().load_streams(), "forget": self._half(0), "retain": self._half(1)}

    def load_splits(self) -> Mapping[str, RowSource]:
        """As the streams."""
        return {**super().load_splits(), "forget": self._half(0), "retain": self._half(1)}

    def _half(self, parity: int) -> list[Row]:
        rows = [*self.facts.forget, *self.facts.retain]
        per_author = len(rows) // (self.facts.forget_authors + self.facts.retain_authors)
        return [row for i, row in enumerate(rows) if (i % per_author + i // per_author) % 2 == parity]

    def _train(self) -> list[Row]:
        facts = self.facts
        forget = self._half(0) if self.train_split == "full" else []
        return [*self._half(1), *forget, *facts.real_authors, *facts.world_facts]


@dataclass(frozen=True)
class Problem:
    """What is to be forgotten, and how.

    Attributes:
        method: module of the objectives, called with the model and options.
        weights: the nine weights of the forget loss that are tried; the other losses have weight 1.
        forget_authors: of eight authors.
        epochs: passes over the forget answers, in batches of ten.
        data: class of the data module.
        bounded: whether no loss is negative.
    """

    method: Callable[..., UnlearningModule]
    weights: tuple[float, ...]
    forget_authors: int = 4
    epochs: int = 8
    data: type[SyntheticAuthorsDataModule] = SyntheticAuthorsDataModule
    bounded: bool = True

    def world(self, folder: Path, seed: int) -> World:
        """The models, which problems with the same facts share."""
        name = f"{self.data.__name__}-{self.forget_authors}"
        sizes = {"forget_authors": self.forget_authors, "retain_authors": 8 - self.forget_authors}
        return World(folder / name / f"seed{seed}", seed, **sizes, holdout_authors=4, data=self.data)


def bounded_difference(model: object, **options: object) -> UnlearningModule:
    """UCE on the forget answers, NLL on the retain answers."""
    objectives = {"forget": UnlearningCrossEntropyLoss(), "retain": CausalLMLoss()}
    combiner = options.pop("combiner", None) or Scalarization()
    return UnlearningModule(model, objectives, combiner, **options)  # type: ignore[arg-type]


PROBLEMS = {
    "UCE": Problem(bounded_difference, STEEP),
    "NPO": Problem(NPO, GENTLE),
    "SimNPO": Problem(SimNPO, GENTLE),
    "GA": Problem(GradDiff, GENTLE, bounded=False),
    "MOLLM": Problem(MOLLM, STEEP),
    "MOLLM, one author": Problem(MOLLM, STEEP, forget_authors=1, epochs=32),
    "MOLLM, same people": Problem(MOLLM, STEEP, data=FactsOfTheSamePeople),
    "MOLLM, long": Problem(MOLLM, STEEP, epochs=30),
}
"""Each has 32 steps, the last one 120."""
