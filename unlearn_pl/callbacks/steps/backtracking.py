"""Halving of a step until it raises none of the retain losses on the rows that it was computed on."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from unlearn_pl.gradients import Replay, Window, local
from unlearn_pl.gradients.zeroth_order.common_numbers import CommonNumbers
from unlearn_pl.modules import UnlearningModule


class Backtracking:
    """Measures losses before and after a step, in evaluation mode, and halves the step while one has risen too much.

    Args:
        halvings: the most that a step is halved.
        tolerance: rise of a loss that is accepted, in the unit of the loss.
    """

    def __init__(self, halvings: int, tolerance: float) -> None:
        self.halvings = halvings
        self.tolerance = tolerance

    @torch.no_grad()
    def start(self, module: UnlearningModule, window: Window) -> None:
        """Measure the losses of ``window`` before the step; collective."""
        self._module, self._window = module, window
        self._numbers = CommonNumbers(module.trained_parameters)
        self._losses = self._measured()

    @torch.no_grad()
    def shorten(self, parameters: Sequence[nn.Parameter], before: Sequence[Tensor]) -> dict[str, float]:
        """Halve the step that was taken, if need be; collective, and the same on every rank.

        Args:
            parameters: after the step.
            before: this rank's part of each, before the step.

        Returns:
            What is logged: ``share`` of the step that is left, and the largest ``rise`` of a loss over it.
        """
        share, rise = 1.0, self._rise()
        for _ in range(self.halvings):
            if rise <= self.tolerance:
                break
            for parameter, start in zip(parameters, before, strict=True):
                local(parameter.detach()).lerp_(start, 0.5)
            share, rise = share / 2, self._rise()
        del self._window
        return {"train/projection/share": share, "train/projection/rise": rise}

    def _rise(self) -> float:
        """The largest rise of a loss; infinite if one is not finite."""
        return (self._measured() - self._losses).nan_to_num(nan=torch.inf).max().item()

    def _measured(self) -> Tensor:
        """Mean losses of the window over all ranks, ``[R]`` fp64."""
        runtime = self._module.runtime
        with runtime.forward_only(), self._numbers.again():
            losses = Replay(self._window, runtime).losses_alone()
        if runtime.world_size > 1:
            torch.distributed.all_reduce(losses)
        return losses
