"""Time that an audit may take, and the attacks that do not fit."""

import time
from dataclasses import dataclass


@dataclass(frozen=True)
class NotRun:
    """An attack that the time did not suffice for.

    Attributes:
        attack: name of the attack.
        estimate: seconds that it was estimated to take, on all models.
    """

    attack: str
    estimate: float


class TimeBudget:
    """Estimates whether an attack still fits, from what attacks have taken so far.

    The time of an attack is its cost times the seconds per unit of cost, of which the largest so far counts. It is an
    estimate, taken before the attack starts: an attack that takes longer is not interrupted.

    Args:
        seconds: time that may pass from now on; None for any time.

    Raises:
        ValueError: if ``seconds`` is not positive.
    """

    def __init__(self, seconds: float | None = None) -> None:
        if seconds is not None and not seconds > 0:
            raise ValueError(f"A budget of {seconds} seconds; accepted is a positive number, or None for any time.")
        self.seconds = seconds
        self._start = time.monotonic()
        self._per_cost = 0.0

    def learn(self, cost: float, seconds: float) -> None:
        """Note that an attack of this ``cost`` took so many ``seconds``."""
        if cost > 0:
            self._per_cost = max(self._per_cost, seconds / cost)

    def estimate(self, cost: float) -> float:
        """Seconds that something of this ``cost`` will take; 0 while nothing is known."""
        return cost * self._per_cost

    def allows(self, cost: float) -> bool:
        """Whether something of this ``cost`` is expected to end in time."""
        if self.seconds is None:
            return True
        return time.monotonic() - self._start + self.estimate(cost) <= self.seconds
