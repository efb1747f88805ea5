"""Callbacks that act on the goals of objectives: stop when they are reached, return when a floor is broken."""

from unlearn_pl.callbacks.goals.budget import Budget
from unlearn_pl.callbacks.goals.stop_at_goals import StopAtGoals

__all__ = ["Budget", "StopAtGoals"]
