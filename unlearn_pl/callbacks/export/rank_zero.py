"""Long work on rank 0, for which the other ranks wait."""

from collections.abc import Callable
from threading import Thread
from typing import TypeVar

import lightning.pytorch as pl

Result = TypeVar("Result")
SECONDS = 20.0
"""Between two signs of life of rank 0."""


def work_on_rank_zero(trainer: pl.Trainer, work: Callable[[], Result], seconds: float = SECONDS) -> Result | None:
    """Do ``work`` on rank 0; all ranks return when it is done.

    The others wait in turns of some seconds: one collective for the whole time would run into the time limit of the
    process group, which ends the run.

    Args:
        trainer: whose ranks are meant; all call this.
        work: has no collectives and raises nothing.
        seconds: length of a turn.

    Returns:
        What ``work`` returns, on rank 0; None on the others.
    """
    if trainer.world_size == 1:
        return work()
    results: list[Result] = []
    thread = None
    if trainer.is_global_zero:
        # A daemon, so that an interruption ends the process.
        thread = Thread(target=lambda: results.append(work()), daemon=True)
        thread.start()
    is_done = False
    while not is_done:
        if thread is not None:
            thread.join(seconds)
        is_done = trainer.strategy.broadcast(thread is None or not thread.is_alive())
    return results[0] if results else None
