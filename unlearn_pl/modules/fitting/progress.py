"""Metrics of a step, for loggers and the progress bar."""

from unlearn_pl.engine import Step
from unlearn_pl.modules.fitted import FittedModule


def report(module: FittedModule, step: Step) -> None:
    """Show the losses, and log the metrics of the first step and of every ``log_every_n_steps``-th one.

    With 0 nothing is logged, and with ``barebones`` nothing is shown either, as Lightning has it.

    Args:
        module: the module that has taken the step.
        step: the step.
    """
    trainer, descent = module.trainer, module.descent
    metrics = step.metrics() | descent.goals.metrics()
    metrics |= {f"train/skipped/{reason}": float(n) for reason, n in descent.skipped.items()}
    losses = {key: value for key, value in metrics.items() if key.startswith("train/loss/")}
    if not trainer.barebones:  # it would warn at every step
        module.log_dict(losses, prog_bar=True, logger=False, batch_size=1)
    every: int = trainer.log_every_n_steps  # type: ignore[attr-defined]
    if every and (descent.windows_closed == 1 or descent.windows_closed % every == 0):
        for logger in trainer.loggers:
            logger.log_metrics(metrics, step=descent.windows_closed)
