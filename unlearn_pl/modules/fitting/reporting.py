"""Logs of optimizer steps."""

from unlearn_pl.engine import Step
from unlearn_pl.modules.fitted import FittedModule


def report(module: FittedModule, step: Step) -> None:
    """Log the first step and every ``log_every_n_steps``-th one; the progress bar shows the losses of each.

    Args:
        module: the module that took it.
        step: the measurements.
    """
    metrics = step.metrics() | {f"train/skipped/{reason}": float(n) for reason, n in module.descent.skipped.items()}
    losses = {key: value for key, value in metrics.items() if key.startswith("train/loss/")}
    module.log_dict(losses, prog_bar=True, logger=False, batch_size=1)
    trainer, number = module.trainer, module.descent.windows_closed
    if number % trainer.log_every_n_steps == 0 or number == 1:  # type: ignore[attr-defined]
        for logger in trainer.loggers:
            logger.log_metrics(metrics, step=number)
