"""Where the objectives stand between their starts and their goals, over the steps of a run."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from unlearn_pl.functional.moving_average import MovingAverage
from unlearn_pl.goals.course import LOSS, PROGRESS, Course
from unlearn_pl.goals.goal import Goal
from unlearn_pl.goals.standing import Standing
from unlearn_pl.types import Role

LEAST_HOLDOUT = 0.01
"""Below it, a holdout level carries no information: answers of this length are improbable under any model."""

HYSTERESIS = 0.1
"""A goal that was met or broken stays so until the distance exceeds this, so that noise does not switch it."""


class Goals:
    """Goals of objectives, and how far each is from its own.

    Args:
        goals: name of an objective to its goal; objectives without one are not bounded.
        decay: decay of the averages over steps.

    Attributes:
        holdout: probability that the model gives, before the first step, to answers that it was never trained on; NaN
            if it is not known.
        progress: ``[K]`` moving average of the progress, or of the loss where there is none; NaN before the first step.
        standing: distances after the last update.
        forget: ``[K]`` bool: the objectives of role ``forget``.

    Raises:
        ValueError: if ``decay`` is outside [0, 1).
    """

    def __init__(self, goals: Mapping[str, Goal] | None = None, decay: float = 0.5) -> None:
        self.goals = dict(goals or {})
        self._distances, self._averages = MovingAverage(decay), MovingAverage(decay)
        self.setup([], [], [])

    def __bool__(self) -> bool:
        return bool(self.goals)

    def setup(self, names: Sequence[str], roles: Sequence[Role], rises: Sequence[bool]) -> None:
        """Reset, for these objectives.

        Args:
            names: names of the objectives, in the order of all vectors.
            roles: whether each forgets or retains.
            rises: whether descending each is meant to raise its progress.

        Raises:
            ValueError: if a goal names an unknown objective, or bounds it on the wrong side.
        """
        if names and (unknown := sorted(set(self.goals) - set(names))):
            raise ValueError(f"goals name {unknown}, but the objectives are {list(names)}.")
        for name, rising in zip(names, rises, strict=True):
            if name in self.goals:
                _check_side(name, self.goals[name], rising)
        self.names = tuple(names)
        self.forget = torch.tensor([role == "forget" for role in roles], dtype=torch.bool)
        self.courses = [
            Course(name, role, self.goals[name]) if name in self.goals else None
            for name, role in zip(names, roles, strict=True)
        ]
        self.holdout = math.nan
        self._distances.reset()
        self._averages.reset()
        self.progress = torch.full([len(names)], torch.nan, dtype=torch.float64)
        self.standing = Standing.without_goals(len(names))

    @property
    def needs_holdout(self) -> bool:
        """Whether a goal is a share of the holdout level."""
        return any(goal.needs_holdout for goal in self.goals.values())

    def begin(self, start: Mapping[str, float], holdout: float | None = None) -> None:
        """Set levels that were measured before the first step.

        Args:
            start: name of an objective to its progress; the others start where their first step is.
            holdout: probability that the model gives to answers that it was never trained on.

        Raises:
            ValueError: see :meth:`update`.
        """
        self.holdout = math.nan if holdout is None else holdout
        met = self.standing.met.clone()
        for k, course in enumerate(self.courses):
            if course is not None:
                self._check_holdout(course)
                course.start = start.get(course.name, math.nan)
                met[k] = course.is_met_by(course.start, self.holdout)
        self.standing = Standing(self.standing.distance, met & self.forget, self.standing.broken)

    def update(self, readings: Tensor) -> Standing:
        """Update with the measurements of a step.

        Args:
            readings: ``[K, 3]``: loss, progress, and progress relative to the reference model; NaN where there is none.

        Returns:
            The standing.

        Raises:
            ValueError: at the first step, if the holdout level is needed and missing or too low to be of use, or a
                floor does not hold at the start.
        """
        loss, progress = readings[:, LOSS], readings[:, PROGRESS]
        values = torch.where(progress.isnan(), loss, progress)
        self.progress = self._averages.update(values, where=values.isfinite())
        if self.goals:
            self._move(readings.tolist())
        return self.standing

    def _move(self, readings: list[list[float]]) -> None:
        distances = torch.full([len(self.names)], torch.nan, dtype=torch.float64)
        for k, course in enumerate(self.courses):
            if course is not None and math.isfinite(readings[k][LOSS]):
                if not course.is_set:
                    self._check_holdout(course)
                    course.set(readings[k], self.holdout)
                distances[k] = course.distance(readings[k])
        average = self._distances.update(distances, where=distances.isfinite())
        met = self.forget & (average <= HYSTERESIS * self.standing.met)
        broken = ~self.forget & (average < HYSTERESIS * self.standing.broken)
        self.standing = Standing(average, met, broken)

    @property
    def reached(self) -> bool:
        """Whether every target is reached and no floor is broken; False before the first step."""
        targets = torch.tensor([course is not None and course.role == "forget" for course in self.courses])
        known = all(course.is_set for course in self._with_goals)
        return bool(self.goals) and known and bool(self.standing.met[targets].all() and not self.standing.broken.any())

    def summary(self) -> str:
        """For instance ``forget 0.199 (goal <= 0.18), retain 0.938 (goal >= 0.81)``."""
        return ", ".join(
            f"{name} {self.progress[k]:.3f} (goal {course.goal.symbol} {course.absolute_bound:.3g})"
            for k, (name, course) in enumerate(zip(self.names, self.courses, strict=True))
            if course is not None
        )

    def metrics(self) -> dict[str, float]:
        """The logged values, by key, of the objectives with a goal: the goal as a number, and the distance from it."""
        known = [(k, course) for k, course in enumerate(self.courses) if course is not None and course.is_set]
        goals = {f"train/goal/{course.name}": course.absolute_bound for _, course in known}
        return goals | {f"train/distance/{course.name}": self.standing.distance[k].item() for k, course in known}

    @property
    def _with_goals(self) -> list[Course]:
        return [course for course in self.courses if course is not None]

    def _check_holdout(self, course: Course) -> None:
        if not course.goal.needs_holdout or self.holdout >= LEAST_HOLDOUT:
            return
        what = (
            "no holdout level is known: the data has no holdout set (of your own files: TextDataModule(holdout=...))"
            if math.isnan(self.holdout)
            else f"the holdout level is {self.holdout:.2g}, too low to say what a model knows"
        )
        raise ValueError(
            f"The goal of {course.name!r} is {course.goal!r}, but {what}. Accepted: a number, such as AtMost(0.1), or "
            "a share of the start, such as AtMost(share=0.1)."
        )

    def state_dict(self) -> dict[str, Any]:
        """State for :meth:`load_state_dict`: tensors and plain values only."""
        return {
            "holdout": self.holdout,
            "courses": [
                None if c is None else {**vars(c), "goal": repr(c.goal)}  # a record of what was asked, not the goal
                for c in self.courses
            ],
            "distances": self._distances.state_dict(),
            "averages": self._averages.state_dict(),
            "progress": self.progress.clone(),
            "standing": {name: value.clone() for name, value in vars(self.standing).items()},
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Resume from ``state``, after :meth:`setup`.

        Another goal than that of the state keeps the start that was measured, and its distance begins anew.
        """
        self.holdout = state["holdout"]
        self._averages.load_state_dict(state["averages"])
        self.progress = state["progress"].clone()
        before = [None if kept is None else kept["goal"] for kept in state["courses"]]
        for course, kept in zip(self.courses, state["courses"], strict=True):
            if course is not None and kept is not None:
                course.resume(kept, same_goal=repr(course.goal) == kept["goal"])
        if before == [None if course is None else repr(course.goal) for course in self.courses]:
            self._distances.load_state_dict(state["distances"])
            self.standing = Standing(**state["standing"])


def _check_side(name: str, goal: Goal, rising: bool) -> None:
    falls = goal.loss is not None or not rising
    if falls != (goal.sign > 0):
        accepted = "AtMost" if falls else "AtLeast"
        what = "loss" if goal.loss is not None else "progress"
        raise ValueError(
            f"The goal of {name!r} is {goal!r}, but descending it {'lowers' if falls else 'raises'} its {what}. "
            f"Accepted: {accepted}."
        )
