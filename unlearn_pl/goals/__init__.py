"""Goals of objectives: how far to forget, and how much to keep."""

from unlearn_pl.goals.goal import AtLeast, AtMost, Goal
from unlearn_pl.goals.goals import Goals
from unlearn_pl.goals.standing import Standing

__all__ = ["AtLeast", "AtMost", "Goal", "Goals", "Standing"]
