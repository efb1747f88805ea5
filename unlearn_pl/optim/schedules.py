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


class Constant(Schedule):
    """Factor 1 after an optional linear warm-up.

    Args:
        warmup_epochs: length of the warm-up.
    """

    def __init__(self, warmup_epochs: float = 0.0) -> None:
        self.warmup_epochs = _not_negative(warmup_epochs)

    def factor(self, step: int, steps_per_epoch: int, total_steps: int) -> float:
        """Rises to 1 and stays there."""
        return _warmup(step, round(self.warmup_epochs * steps_per_epoch))


class LinearWarmup(Schedule):
    """Linear warm-up, then linear decay toward 0 at the end of training: the schedule of TOFU, NPO and SimNPO.

    The first and the last step have a factor above 0, so that no step is wasted (``transformers``' linear schedule
    starts at exactly 0).

    Args:
        warmup_epochs: length of the warm-up; the papers use one epoch.
    """

    def __init__(self, warmup_epochs: float = 1.0) -> None:
        self.warmup_epochs = _not_negative(warmup_epochs)

    def factor(self, step: int, steps_per_epoch: int, total_steps: int) -> float:
        """Rises to 1 over the warm-up and falls to ``1 / (total_steps - warmup)`` at the last step."""
        warmup = round(self.warmup_epochs * steps_per_epoch)
        return _warmup(step, warmup) * (1.0 - _progress(step, warmup, total_steps))


class Cosine(Schedule):
    """Linear warm-up, then half a cosine down to ``final_factor``.

    Args:
        warmup_epochs: length of the warm-up.
        final_factor: factor at the end of training.
    """

    def __init__(self, warmup_epochs: float = 0.0, final_factor: float = 0.0) -> None:
        self.warmup_epochs = _not_negative(warmup_epochs)
        self.final_factor = final_factor

    def factor(self, step: int, steps_per_epoch: int, total_steps: int) -> float:
        """Rises to 1 over the warm-up and falls along a cosine."""
        warmup = round(self.warmup_epochs * steps_per_epoch)
        cosine = 0.5 * (1.0 + math.cos(math.pi * _progress(step, warmup, total_steps)))
        return _warmup(step, warmup) * (self.final_factor + (1.0 - self.final_factor) * cosine)


def _warmup(step: int, warmup: int) -> float:
    return min(1.0, (step + 1) / (warmup + 1))


def _progress(step: int, warmup: int, total_steps: int) -> float:
    """Share of the steps after the warm-up that precede ``step``."""
    return min(1.0, max(0, step - warmup) / max(1, total_steps - warmup))


def _not_negative(warmup_epochs: float) -> float:
    if warmup_epochs < 0:
        raise ValueError(f"warmup_epochs must be 0 or more, got {warmup_epochs}.")
    return warmup_epochs
