"""One unlearning run and what its path says: pure functions on numbers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

FORGET = ("forget1", "forget2")

Point = Mapping[str, float]


@dataclass(frozen=True)
class Trial:
    """An unlearning run.

    Attributes:
        experiment: its name.
        arm: its name.
        seed: of sequences, initial weights and the order of training.
        order: number of the order of unlearning, another one for every seed.
        path: measurements in the order of the steps: ``step`` and the KL divergence of each chain.
        retrained: chain to the KL divergence of the model that never saw a forget chain.
        seconds: of processor time that the run took.
    """

    experiment: str
    arm: str
    seed: int
    order: int
    path: Sequence[Point]
    retrained: Point
    seconds: float

    @property
    def key(self) -> tuple[str, str, int, int]:
        """What tells it from other trials."""
        return self.experiment, self.arm, self.seed, self.order

    @property
    def end(self) -> Point:
        """The last measurement."""
        return self.path[-1]

    def cost_of(self, chains: Sequence[str]) -> float | None:
        """Retain distance where all ``chains`` are first as far away as from the retrained model.

        Between measurements, distances are taken to be linear. None if they never are.
        """
        for before, after in pairwise([self.path[0], *self.path]):
            if self._forgotten(after, chains):
                share = max(self._share(before[chain], after[chain], self.retrained[chain]) for chain in chains)
                return before["retain"] + share * (after["retain"] - before["retain"])
        return None

    def best(self, chains: Sequence[str] = FORGET) -> float | None:
        """Smallest retain distance of all measurements at which ``chains`` are forgotten; None if they never are."""
        return min((p["retain"] for p in self.path if self._forgotten(p, chains)), default=None)

    def gap_at(self, distance: float) -> float | None:
        """Distance from the first forget chain minus that from the second, where the retain distance first is this.

        None if it never is.
        """
        for before, after in pairwise(self.path):
            if before["retain"] <= distance <= after["retain"]:
                share = self._share(before["retain"], after["retain"], distance)
                first, second = (point["forget1"] - point["forget2"] for point in (before, after))
                return first + share * (second - first)
        return None

    def _forgotten(self, point: Point, chains: Sequence[str]) -> bool:
        return all(point[chain] >= self.retrained[chain] for chain in chains)

    @staticmethod
    def _share(before: float, after: float, level: float) -> float:
        """Share of the way from ``before`` to ``after`` at which ``level`` is reached."""
        return 0.0 if before >= level else (level - before) / (after - before)
