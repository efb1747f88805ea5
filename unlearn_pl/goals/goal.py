"""The level of progress that an objective is to reach, or not to lose."""

from abc import ABC
from typing import ClassVar, Literal

from unlearn_pl.recording import Recorded

HOLDOUT_SHARE = 0.5
"""Default share of the holdout level; see ``experiments/README.md`` for the study that chose it."""


class Goal(Recorded, ABC):
    """A bound on the progress of an objective, in a unit that people understand.

    Progress is the probability of an answer, a text or a class under the model: ``exp`` of the mean log-probability of
    its tokens, averaged over the examples; for objectives that score none, it is the loss.

    For an objective of role ``forget``, the goal is a *target*: the objective stops when it is reached. For one of role
    ``retain`` it is a *floor*: nothing is forgotten while it is broken.

    Args:
        level: a number; ``start``, the progress before the first step; or ``holdout``, the probability that the model
            gives, before the first step, to answers that it was never trained on.
        share: multiple of the level, in (0, 1]; of ``start`` if no level is given. One half by default for ``holdout``.
        loss: a number that bounds the objective's loss instead of its progress.

    Raises:
        ValueError: if nothing or too much is given, or a number is out of range.

    Example:
        >>> AtMost("holdout"), AtMost(0.2), AtLeast(share=0.9), AtMost(loss=3.0)
        (AtMost('holdout', share=0.5), AtMost(0.2), AtLeast('start', share=0.9), AtMost(loss=3.0))
    """

    sign: ClassVar[int]
    """1 if the value must fall to the goal, -1 if it must rise to it."""

    def __init__(
        self,
        level: float | Literal["start", "holdout"] | None = None,
        *,
        share: float | None = None,
        loss: float | None = None,
    ) -> None:
        self.level: float | str | None = "start" if level is None and share is not None else level
        self.share = HOLDOUT_SHARE if level == "holdout" and share is None else share
        self.loss = loss
        self._check()

    def _check(self) -> None:
        rule = type(self).__name__
        accepted = f"Accepted: {rule}(0.2), {rule}(share=0.9), {rule}('holdout') or {rule}(loss=3.0)."
        if (self.level is None) == (self.loss is None):
            raise ValueError(f"{rule} was given level={self.level!r} and loss={self.loss!r}. {accepted}")
        if isinstance(self.level, str) and self.level not in ("start", "holdout"):
            raise ValueError(f"{rule} was given the level {self.level!r}. {accepted}")
        if isinstance(self.level, str) != (self.share is not None):
            raise ValueError(f"{rule} was given the level {self.level!r} with share={self.share}. {accepted}")
        if self.share is not None and not 0 < self.share <= 1:
            raise ValueError(f"{rule} was given share={self.share}, but a share must be in (0, 1].")
        if isinstance(self.level, int | float) and not 0 <= self.level <= 1:
            raise ValueError(
                f"{rule} was given the level {self.level}, but a probability must be in [0, 1]. For a loss: "
                f"{rule}(loss={self.level})."
            )

    @property
    def needs_holdout(self) -> bool:
        """Whether the holdout level must be known."""
        return self.level == "holdout"

    @property
    def of_start(self) -> bool:
        """Whether the goal is a share of where the objective starts."""
        return self.level == "start"

    def value(self, start: float, holdout: float) -> float:
        """The bound as a number.

        Args:
            start: progress (or loss) before the first step.
            holdout: holdout level; NaN if it is not known.
        """
        if self.loss is not None:
            return self.loss
        if not isinstance(self.level, str):
            assert self.level is not None
            return float(self.level)
        assert self.share is not None
        return self.share * (holdout if self.level == "holdout" else start)

    def __str__(self) -> str:
        return f"{self.symbol} {self.loss if self.level is None else self.level}"

    @property
    def symbol(self) -> str:
        """``<=`` or ``>=``."""
        return "<=" if self.sign > 0 else ">="

    def __repr__(self) -> str:
        level = [] if self.level is None else [repr(self.level)]
        named = [f"{name}={value}" for name, value in (("share", self.share), ("loss", self.loss)) if value is not None]
        return f"{type(self).__name__}({', '.join(level + named)})"


class AtMost(Goal):
    """Progress (or loss) falls to the level; see :class:`Goal`."""

    sign = 1


class AtLeast(Goal):
    """Progress (or loss) rises to the level, or stays above it; see :class:`Goal`."""

    sign = -1
