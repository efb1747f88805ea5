"""The cost of a run in backward passes, a number that does not depend on the machine."""

from typing import Any

import lightning.pytorch as pl
from torch import Tensor


class BackwardPasses(pl.Callback):
    """Counts the backward passes of training, and logs ``train/backward_passes`` beside the losses.

    A backward pass is one of a micro-batch on this rank: a plain weighted sum takes one per micro-batch of a group of
    streams, a gradient per objective takes one per objective, and sources by forward passes alone take none.
    ``unlearn-pl fit`` writes the number to ``cost.json`` in the folder of the run.

    Attributes:
        count: backward passes so far, those before a run resumed included.
    """

    def __init__(self) -> None:
        self.count = 0

    def on_before_backward(self, trainer: pl.Trainer, pl_module: pl.LightningModule, loss: Tensor) -> None:
        """Count one more."""
        self.count += 1

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Log the number, at the steps at which the losses are logged."""
        steps, every = pl_module.windows_closed, trainer.log_every_n_steps  # type: ignore[attr-defined]
        if every and (steps == 1 or steps % every == 0):
            for logger in trainer.loggers:
                logger.log_metrics({"train/backward_passes": float(self.count)}, step=steps)

    def state_dict(self) -> dict[str, Any]:
        """The number so far."""
        return {"count": self.count}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue counting."""
        self.count = int(state_dict["count"])
