"""Learning-rate schedules: warm-up in epochs, total length from the step count of the data."""

import math
from abc import ABC, abstractmethod

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from unlearn_pl.recording import Recorded


class Schedule(Recorded, ABC):
    """A factor on the learning rate for every optimizer step."""

    @abstractmethod
    def factor(self, step: int, steps_per_epoch: int, total_steps: int) -> float:
        """Factor of optimizer step ``step`` (0, 1, ..., ``total_steps - 1``), in [0, 1]."""

    def build(self, optimizer: Optimizer, steps_per_epoch: int, total_steps: int) -> LambdaLR:
        """A PyTorch scheduler to be stepped once per optimizer step."""
        return StepwiseLR(optimizer, lambda step: self.factor(step, steps_per_epoch, total_steps))


class StepwiseLR(LambdaLR):
    """A scheduler of a :class:`Schedule`: one that counts optimizer steps, also where Lightning assumes epochs."""


class WarmupSchedule(Schedule):
    """A schedule that begins with a linear warm-up.

    Args:
        warmup_epochs: length of the warm-up, in epochs.
        warmup_ratio: its length as a share of all steps, in [0, 1]; takes the place of ``warmup_epochs``.
    """

    def __init__(self, warmup_epochs: float = 0.0, warmup_ratio: float | None = None) -> None:
        if not warmup_epochs >= 0:
            raise ValueError(f"warmup_epochs must be 0 or more, got {warmup_epochs}.")
        if warmup_ratio is not None and not 0 <= warmup_ratio <= 1:
            raise ValueError(f"warmup_ratio must be a share of all steps, from 0 to 1, got {warmup_ratio}.")
        self.warmup_epochs = warmup_epochs
        self.warmup_ratio = warmup_ratio

    def warmup_steps(self, steps_per_epoch: int, total_steps: int) -> int:
        """The number of steps before the factor is 1."""
        if self.warmup_ratio is not None:
            return round(self.warmup_ratio * total_steps)
        return round(self.warmup_epochs * steps_per_epoch)


class Constant(WarmupSchedule):
    """Factor 1 after an optional linear warm-up.

    Args:
        warmup_epochs: length of the warm-up.
        warmup_ratio: its length as a share of all steps, instead of ``warmup_epochs``.
    """

    def __init__(self, warmup_epochs: float = 0.0, warmup_ratio: float | None = None) -> None:
        super().__init__(warmup_epochs, warmup_ratio)

    def factor(self, step: int, steps_per_epoch: int, total_steps: int) -> float:
        """Rises to 1 and stays there."""
        return _warmup(step, self.warmup_steps(steps_per_epoch, total_steps))


class LinearWarmup(WarmupSchedule):
    """Linear warm-up, then linear decay toward 0 at the end of training: the schedule of TOFU, NPO and SimNPO.

    The first and the last step have a factor above 0, so that no step is wasted (``transformers``' linear schedule
    starts at exactly 0).

    Args:
        warmup_epochs: length of the warm-up; the papers use one epoch.
        warmup_ratio: its length as a share of all steps, instead of ``warmup_epochs``.
    """

    def __init__(self, warmup_epochs: float = 1.0, warmup_ratio: float | None = None) -> None:
        super().__init__(warmup_epochs, warmup_ratio)

    def factor(self, step: int, steps_per_epoch: int, total_steps: int) -> float:
        """Rises to 1 over the warm-up and falls to ``1 / (total_steps - warmup)`` at the last step."""
        warmup = self.warmup_steps(steps_per_epoch, total_steps)
        return _warmup(step, warmup) * (1.0 - _progress(step, warmup, total_steps))


class Cosine(WarmupSchedule):
    """Linear warm-up, then half a cosine down to ``final_factor``.

    Args:
        warmup_epochs: length of the warm-up.
        final_factor: factor at the end of training.
        warmup_ratio: its length as a share of all steps, instead of ``warmup_epochs``.
    """

    def __init__(
        self, warmup_epochs: float = 0.0, final_factor: float = 0.0, warmup_ratio: float | None = None
    ) -> None:
        super().__init__(warmup_epochs, warmup_ratio)
        self.final_factor = final_factor

    def factor(self, step: int, steps_per_epoch: int, total_steps: int) -> float:
        """Rises to 1 over the warm-up and falls along a cosine."""
        warmup = self.warmup_steps(steps_per_epoch, total_steps)
        cosine = 0.5 * (1.0 + math.cos(math.pi * _progress(step, warmup, total_steps)))
        return _warmup(step, warmup) * (self.final_factor + (1.0 - self.final_factor) * cosine)


def _warmup(step: int, warmup: int) -> float:
    return min(1.0, (step + 1) / (warmup + 1))


def _progress(step: int, warmup: int, total_steps: int) -> float:
    """Share of the steps after the warm-up that precede ``step``."""
    return min(1.0, max(0, step - warmup) / max(1, total_steps - warmup))
