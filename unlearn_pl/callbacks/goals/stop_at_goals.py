"""The end of training when all goals are reached."""

from typing import Any

import lightning.pytorch as pl
from lightning.pytorch.utilities import rank_zero_info

from unlearn_pl.callbacks.goals.kept_weights import KeptWeights, goals_of
from unlearn_pl.goals import Goals


class StopAtGoals(pl.Callback):
    """Ends training when every target is reached and no floor is broken, for ``steps`` optimizer steps in a row.

    Args:
        steps: optimizer steps for which the goals must hold.
        restore_best: end with the weights of the step at which the goals held with most room above the floors, even if
            training goes on to its planned end. Costs a copy of the trained weights on the host.

    Raises:
        ValueError: if ``steps`` is below 1; from ``setup``, if the module has no goals.
    """

    def __init__(self, steps: int = 3, restore_best: bool = False) -> None:
        if steps < 1:
            raise ValueError(f"steps is {steps}; accepted: 1 or more optimizer steps.")
        self.steps = steps
        self.restore_best = restore_best
        self._start_over()

    def _start_over(self) -> None:
        self._held = 0
        self._best = KeptWeights()
        self._room = float("-inf")

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Check that there are goals, and reset."""
        if stage == "fit":
            goals_of(pl_module, self)
            self._start_over()

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Count the steps at which the goals held, and stop after enough of them."""
        goals = pl_module.descent.goals
        self._held = self._held + 1 if goals.reached else 0
        if self._held and self.restore_best and (room := _room(goals)) > self._room:
            self._best.keep(pl_module.trained_parameters, pl_module.windows_closed)
            self._room = room
        if self._held >= self.steps:
            trainer.should_stop = True

    def on_train_end(self, trainer: pl.Trainer, pl_module: Any) -> None:
        """Say whether the goals were reached; restore the best weights, if asked to."""
        goals = pl_module.descent.goals
        if self._best:
            self._best.restore(pl_module.trained_parameters)
            rank_zero_info(f"Restored the weights of step {self._best.step}, which met the goals with most room.")
        elif not goals.reached:
            rank_zero_info(
                f"The goals were not reached in {pl_module.windows_closed} steps: {goals.summary()}. More steps, a "
                "higher learning rate or a lower floor would go further."
            )

    def state_dict(self) -> dict[str, Any]:
        """How long the goals have held; the copy of weights is not part of checkpoints."""
        return {"held": self._held}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue counting."""
        self._held = state_dict["held"]


def _room(goals: Goals) -> float:
    """The smallest distance of a retain objective from its floor; 0 without floors."""
    return min(goals.standing.of(~goals.forget).tolist(), default=0.0)
