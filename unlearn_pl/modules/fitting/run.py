"""What a module trains with during one ``fit``, and what the checkpoint that it resumes from was trained with."""

from collections.abc import Mapping, Sequence
from typing import Any

from lightning.pytorch.trainer.states import TrainerFn
from lightning.pytorch.utilities.types import LRSchedulerConfig
from torch.optim import Optimizer

from unlearn_pl.modules.checkpoints.guarding import reads_with_torch
from unlearn_pl.modules.fitted import FittedModule
from unlearn_pl.modules.fitting.counters import check_counters
from unlearn_pl.modules.fitting.random_states import KEY as RANDOM
from unlearn_pl.modules.fitting.random_states import RandomStates
from unlearn_pl.modules.fitting.resuming import (
    check_continues,
    check_data,
    check_descent,
    check_entries,
    check_whole,
    continued,
)
from unlearn_pl.modules.fitting.settings import data_settings, descent_settings, optimizer_settings
from unlearn_pl.modules.fitting.soundness import Soundness
from unlearn_pl.modules.lightning_internals import peeked

KEY = "unlearn_pl_run"
"""Where checkpoints keep it."""


class Run:
    """Compares a run with the checkpoint that it resumes from, as soon as both are known.

    Most strategies read the checkpoint before the optimizer is made, and restore its state afterwards; those that shard
    the model make the optimizer first.

    Args:
        module: the module that is fitted.
    """

    def __init__(self, module: FittedModule) -> None:
        self._module = module
        self.random = RandomStates(module)
        self.soundness = Soundness(module)
        self.reset()

    def reset(self) -> None:
        """Begin a run that does not resume."""
        self._optimizer: Optimizer | None = None
        self._settings: dict[str, Any] = {}
        self._loaded: Mapping[str, Any] | None = None
        self._kept: dict[str, Any] | None = None
        self.random.reset()
        self.soundness.reset()

    def start(self, optimizer: Optimizer, schedulers: Sequence[LRSchedulerConfig]) -> None:
        """Called when the optimizer has been made.

        Raises:
            ValueError: if it cannot continue from the checkpoint.
        """
        self._optimizer = optimizer
        self._settings["optimizer"] = optimizer_settings(optimizer, schedulers, self._module)
        self._compare_optimizer()

    def check_file(self, checkpoint_path: object, resumes: bool) -> None:
        """Called before a checkpoint is read, by which strategies that shard the model restore the optimizer already.

        Args:
            checkpoint_path: a file or a folder that is whole.
            resumes: whether training goes on from it.

        Raises:
            ValueError: if it is of another kind of module, or the optimizer cannot continue from it.
        """
        found = peeked(checkpoint_path) if reads_with_torch(self._module.trainer) else {}
        if found and "unlearn_pl" not in found:
            raise ValueError(
                f"The checkpoint {str(checkpoint_path)!r} was written by another kind of module: it has weights, but "
                "no state of unlearning. Export the model there, and start a new run from the exported folder."
            )
        if not resumes or self._optimizer is None:
            return
        check_whole(found)
        if before := found.get(KEY):
            check_continues(before["optimizer"], self._settings["optimizer"])

    def resume(self, checkpoint: Mapping[str, Any]) -> None:
        """Called when the checkpoint has been read, before anything of it is restored.

        Raises:
            ValueError: if the run would see other data than the checkpoint's, its optimizer cannot continue, or its
                counters are impossible.
        """
        check_counters(checkpoint)
        self._loaded = checkpoint
        before = checkpoint.get(KEY) or {}
        check_data(before.get("data"), self._data())
        check_descent(before.get("descent"), descent_settings(self._module))
        self._compare_optimizer()
        self.random.load(checkpoint)

    def begin(self) -> None:
        """Called when everything else is ready for the first step.

        Raises:
            ValueError: if the checkpoint that the run resumes from holds values that are not finite.
        """
        self.soundness.begin(self.random.resumes)
        self.random.restore()

    def end(self) -> None:
        """Called after the last step.

        Raises:
            ValueError: if it has made weights that are not finite.
        """
        self.soundness.end()

    def save(self, checkpoint: dict[str, Any]) -> None:
        """Write the settings, and of a run the random states of all ranks, into ``checkpoint``; every rank calls it.

        Raises:
            ValueError: if weights or states of the optimizer are not finite.
        """
        checkpoint[KEY] = self.settings()
        if self._optimizer is not None:
            self.soundness.check("before a checkpoint was written")
            checkpoint[RANDOM] = self.random.gathered()

    def keep(self, checkpoint: Mapping[str, Any]) -> None:
        """Called when the checkpoint is only evaluated: its settings remain those of the weights."""
        self._kept = checkpoint.get(KEY)

    def _compare_optimizer(self) -> None:
        if self._loaded is None or self._optimizer is None:
            return
        if (before := self._loaded.get(KEY)) is not None:
            check_continues(before["optimizer"], self._settings["optimizer"])
            self._settings["optimizer"] = continued(before["optimizer"], self._settings["optimizer"])
        else:
            groups = [group for state in self._loaded.get("optimizer_states", []) for group in state["param_groups"]]
            for saved, now in zip(groups, self._optimizer.param_groups, strict=False):
                check_entries(saved, now, type(self._optimizer).__name__)
        self._loaded = None  # a checkpoint is large

    def _data(self) -> dict[str, Any] | None:
        if "data" not in self._settings and self._module.trainer.state.fn == TrainerFn.FITTING:
            self._settings["data"] = data_settings(self._module)  # once per run: a fingerprint reads all rows
        return self._settings.get("data")

    def settings(self) -> dict[str, Any] | None:
        """What the weights are trained with, for a checkpoint; None if this is not known."""
        if self._optimizer is None:
            return self._kept
        return {
            "optimizer": self._settings["optimizer"],
            "descent": descent_settings(self._module),
            "data": self._data(),
        }
