"""A callback that sends a signal to its own process, as a scheduler or Ctrl+C does."""

import os
import signal

import lightning.pytorch as pl


class Signaled(pl.Callback):
    """Sends a signal in an optimizer step.

    Args:
        name: of the signal.
        step: optimizer steps before it; the handler runs within the next one.
    """

    def __init__(self, name: str, step: int) -> None:
        self.name, self.step = name, step

    def on_train_batch_start(self, trainer, *_) -> None:
        """Send it."""
        if trainer.global_step == self.step:
            os.kill(os.getpid(), getattr(signal, self.name))
