"""Schedulers under manual optimization, where Lightning leaves their steps to the module."""

from collections.abc import Mapping, Sequence
from typing import Any

from lightning.pytorch.utilities import rank_zero_warn
from lightning.pytorch.utilities.types import LRSchedulerConfig

from unlearn_pl.modules.fitted import FittedModule


class LearningRates:
    """Steps the schedulers of a module when Lightning would step them under automatic optimization.

    A scheduler with ``interval: step`` is stepped after every optimizer step (every ``frequency``-th one; skipped steps
    do not count), one with ``interval: epoch`` after the last step of an epoch, before the validation. One that watches
    a metric (``ReduceLROnPlateau``) is due at the same times and stepped after the validation that may follow: at the
    end of the epoch, or else before the next step. What is due is kept in checkpoints, with the metric.

    Args:
        module: the module that is fitted.
    """

    def __init__(self, module: FittedModule) -> None:
        self._module = module
        self.configs: Sequence[LRSchedulerConfig] = ()
        self._due: list[int] = []
        self._restored: dict[str, float] = {}

    def reset(self) -> None:
        """Forget what is due."""
        self._due, self._restored = [], {}

    def before_step(self) -> None:
        """Called before an optimizer step, and at the end of an epoch: steps what is due."""
        due, self._due = self._due, []
        for number in due:
            config = self.configs[number]
            value = self._metric(config)
            if value is not None:
                self._module.lr_scheduler_step(config.scheduler, value)
        self._restored = {}

    def after_step(self, moved: bool) -> None:
        """Called after an optimizer step.

        Args:
            moved: whether it was taken, and not skipped.
        """
        for number, config in enumerate(self.configs):
            if not self._reached(config, moved):
                continue
            if config.reduce_on_plateau:
                self._due.append(number)
            else:
                self._module.lr_scheduler_step(config.scheduler, None)

    def _reached(self, config: LRSchedulerConfig, moved: bool) -> bool:
        trainer = self._module.trainer
        if config.interval == "step":
            return moved and trainer.global_step % config.frequency == 0
        return trainer.is_last_batch and (trainer.current_epoch + 1) % config.frequency == 0

    def _metric(self, config: LRSchedulerConfig) -> float | None:
        """The monitored value, that of rank 0 on all ranks: replicas must not get different learning rates."""
        assert config.monitor is not None
        value = self._module.trainer.strategy.broadcast(self._logged(config.monitor))
        if value is not None:
            return value
        name = type(config.scheduler).__name__
        what = f"{name} watches {config.monitor!r}, which has not been logged"
        if config.strict:
            logged = sorted(self._module.trainer.callback_metrics)
            raise ValueError(
                f"{what}. Accepted as its monitor: {logged}. With 'strict': False the scheduler waits for the metric."
            )
        rank_zero_warn(f"{what}; the learning rate stays as it is.")
        return None

    def _logged(self, monitor: str) -> float | None:
        value = self._module.trainer.callback_metrics.get(monitor)
        return self._restored.get(monitor) if value is None else float(value)

    def state_dict(self) -> dict[str, Any]:
        """What is due, and the metrics that it needs: plain values."""
        needed = {str(self.configs[number].monitor) for number in self._due}
        values = {monitor: self._logged(monitor) for monitor in needed}
        return {"due": list(self._due), "metrics": {name: v for name, v in values.items() if v is not None}}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Resume from ``state``."""
        self._due, self._restored = list(state["due"]), dict(state["metrics"])
