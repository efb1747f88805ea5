"""One objective's course from its start to its goal."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from unlearn_pl.goals.goal import Goal
from unlearn_pl.types import Role

LOSS, PROGRESS, KEPT = range(3)
"""Columns of the readings of a step: mean loss, progress, progress relative to the reference model."""


@dataclass
class Course:
    """The distance of an objective from its goal.

    A share of the start is compared with the progress relative to the reference model, per example, where there is one:
    batches scatter less around 1 than around their mean probability.

    Attributes:
        name: the objective's name.
        role: whether it forgets or retains.
        goal: its goal.
        start: progress before the first step, as measured; NaN until it is known.
        column: which reading the goal bounds.
        bound: the goal as a value of that reading; NaN before the first step.
        scale: the distance between start and goal in that reading.
    """

    name: str
    role: Role
    goal: Goal
    start: float = math.nan
    column: int = LOSS
    bound: float = math.nan
    scale: float = math.nan

    @property
    def is_set(self) -> bool:
        """Whether the goal is known as a number."""
        return not math.isnan(self.bound)

    @property
    def sign(self) -> int:
        """1 if the reading is above the goal before it is reached (or broken), else -1."""
        return self.goal.sign if self.role == "forget" else -self.goal.sign

    def resume(self, state: Mapping[str, Any], *, same_goal: bool) -> None:
        """Take the start from ``state``, the attributes of an earlier course, and its bound if the goal is the same."""
        self.start = state["start"]
        if same_goal:
            self.column, self.bound, self.scale = state["column"], state["bound"], state["scale"]

    def is_met_by(self, start: float, holdout: float) -> bool:
        """Whether progress is beyond the goal at its ``start``; False where the goal bounds the loss.

        Raises:
            ValueError: if a floor is above the start.
        """
        if self.goal.loss is not None or math.isnan(start):
            return False
        ahead = self.sign * (start - self.goal.value(start, holdout))
        self._check_floor(start, ahead)
        return ahead <= 0

    def set(self, readings: list[float], holdout: float) -> None:
        """Set start and bound, with the first ``readings`` (3) where nothing was measured before.

        Raises:
            ValueError: if a floor is above the start.
        """
        _, progress, kept = readings
        if self.goal.loss is not None or math.isnan(progress):
            self.column = LOSS
            self._check_loss()
        else:
            self.column = KEPT if self.goal.of_start and not math.isnan(kept) else PROGRESS
        if self.column == LOSS or math.isnan(self.start):
            self.start = readings[LOSS if self.column == LOSS else PROGRESS]
        first = 1.0 if self.column == KEPT else self.start
        self.bound = self.goal.value(first, holdout)
        ahead = self.sign * (first - self.bound)
        self._check_floor(self.start, ahead)
        self.scale = max(ahead, 1e-6) if ahead > 0 else max(abs(self.bound), 1e-6)

    def _check_floor(self, start: float, ahead: float) -> None:
        if self.role == "retain" and ahead < 0:
            raise ValueError(
                f"The goal of {self.name!r} is {self.goal!r}, but it starts at {start:.3g}. Accepted: a floor that "
                "holds at the start, such as AtLeast(share=0.9)."
            )

    def _check_loss(self) -> None:
        if self.goal.sign < 0:
            raise ValueError(
                f"The goal of {self.name!r} is {self.goal!r}, but this objective has no progress besides its loss. "
                "Accepted: AtMost(loss=...)."
            )

    def distance(self, readings: list[float]) -> float:
        """``+-(value - goal) / |start - goal|``: 1 at the start, 0 at the goal."""
        return self.sign * (readings[self.column] - self.bound) / self.scale

    @property
    def absolute_bound(self) -> float:
        """The goal in the unit of the progress, or of the loss; NaN before the first step."""
        return self.bound * self.start if self.column == KEPT else self.bound
