"""The way back when too much is lost."""

from typing import Any

import lightning.pytorch as pl
from lightning.pytorch.utilities import rank_zero_warn

from unlearn_pl.callbacks.goals.kept_weights import KeptWeights, goals_of


class Budget(pl.Callback):
    """Returns to the last weights at which every floor held, and ends training, when one stays broken.

    A run with this callback does not hand out a model that is below the floors of its retain objectives, as far as the
    training batches show. Holds two copies of the trained weights on the host, one of which is written at every step.

    Args:
        patience: optimizer steps in a row with a broken floor before training ends.

    Raises:
        ValueError: if ``patience`` is below 1; from ``setup``, if no retain objective has a goal.
    """

    def __init__(self, patience: int = 5) -> None:
        if patience < 1:
            raise ValueError(f"patience is {patience}; accepted: 1 or more optimizer steps.")
        self.patience = patience
        self._start_over()

    def _start_over(self) -> None:
        self._broken = 0
        self._last = KeptWeights()
        self._previous = KeptWeights()

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Check that there is a floor, and reset."""
        if stage == "fit":
            goals = goals_of(pl_module, self)
            if not any(course is not None and course.role == "retain" for course in goals.courses):
                raise ValueError(
                    f"Budget guards floors, but no retain objective has a goal: {goals.goals}. Accepted: a goal of "
                    "one, such as AtLeast(share=0.9)."
                )
            self._start_over()

    def on_train_start(self, trainer: pl.Trainer, pl_module: Any) -> None:
        """Keep the weights before the first step, at which the floors hold."""
        self._last.keep(pl_module.trained_parameters, pl_module.windows_closed)

    def on_train_batch_start(self, trainer: pl.Trainer, pl_module: Any, batch: Any, batch_idx: int) -> None:
        """Keep the weights that the next step measures."""
        self._previous.keep(pl_module.trained_parameters, pl_module.windows_closed)

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Count the steps with a broken floor; go back and stop after enough of them."""
        if not pl_module.descent.goals.standing.broken.any():
            self._broken = 0
            self._last, self._previous = self._previous, self._last
            return
        self._broken += 1
        if self._broken >= self.patience:
            trainer.should_stop = True

    def on_train_end(self, trainer: pl.Trainer, pl_module: Any) -> None:
        """Go back, if a floor is broken at the end."""
        if self._broken:
            self._last.restore(pl_module.trained_parameters)
            rank_zero_warn(
                f"A floor was broken in the last {self._broken} steps ({pl_module.descent.goals.summary()}); the "
                f"weights are those after step {self._last.step}, at which every floor held."
            )
