"""Callbacks of Lightning that have no effect, or a wrong one, where the module takes the optimizer steps itself."""

import lightning.pytorch as pl
from lightning.pytorch.callbacks import (
    BaseFinetuning,
    BatchSizeFinder,
    GradientAccumulationScheduler,
    LearningRateFinder,
    ModelPruning,
    SpikeDetection,
    StochasticWeightAveraging,
    WeightAveraging,
)
from lightning.pytorch.strategies import ModelParallelStrategy

from unlearn_pl.modules.fitted import FittedModule

_INSTEAD: dict[type[pl.Callback], str] = {
    GradientAccumulationScheduler: (
        "the module accumulates gradients itself. Set batch_size (per optimizer step) and micro_batch_size (per "
        "forward) on the data module, or micro_batch_size on the module."
    ),
    LearningRateFinder: (
        "it needs one loss and a scheduler that the Trainer steps. Give the learning rate as "
        "optimizer=partial(AdamW, lr=...), and compare short runs."
    ),
    BatchSizeFinder: (
        "it would change batch_size, which is the number of examples per optimizer step and thus the result. Keep "
        "batch_size, and lower micro_batch_size to save memory: an estimate is printed before the first step."
    ),
    StochasticWeightAveraging: (
        "its scheduler is never stepped, and it would average nothing of a model that is loaded later. Use "
        "unlearn_pl.callbacks.AveragedWeights(start_step, every_n_steps)."
    ),
    ModelPruning: (
        "it replaces and renames the weights while they are trained. Prune the model before it is given to the module "
        "(torch.nn.utils.prune, made permanent with prune.remove), and keep the zeros with a mask such as MaskFile."
    ),
}


def check_callbacks(module: FittedModule, trainer: pl.Trainer) -> None:
    """Check that every callback of ``trainer`` does in ``fit`` what it promises.

    Args:
        module: the module that is about to be fitted.
        trainer: runs it.

    Raises:
        ValueError: naming the callback and what replaces it.
    """
    for callback in trainer.callbacks:  # type: ignore[attr-defined]
        if (reason := _reason(callback, module, trainer)) is not None:
            raise ValueError(f"The callback {type(callback).__name__} does not work here: {reason}")


def _reason(callback: pl.Callback, module: FittedModule, trainer: pl.Trainer) -> str | None:
    for kind, reason in _INSTEAD.items():
        if isinstance(callback, kind):
            return reason
    if isinstance(callback, SpikeDetection) and _is_ours(module, "training_step"):
        return (
            "there is a loss per objective, and none for it to watch. Steps that are not finite are left out "
            "(on_nonfinite); to end a run, use EarlyStopping with monitor='train/loss/...', or StopAtGoals."
        )
    if isinstance(callback, BaseFinetuning) and _is_ours(module, "configure_optimizers"):
        return (
            "it adds groups of weights to the optimizer, for which the schedule has no learning rate. Choose what is "
            "trained with mask=TrainableParameters(...), and train in two runs, the second one from the weights of the "
            "first; or override configure_optimizers in a subclass, and return an optimizer without a scheduler."
        )
    if isinstance(callback, WeightAveraging):
        return _reason_of_averaging(module, trainer)
    return None


def _is_ours(module: FittedModule, hook: str) -> bool:
    """Whether ``hook`` is that of this library; a subclass of the user may return what a callback needs."""
    return getattr(type(module), hook).__module__.partition(".")[0] == __name__.partition(".")[0]


def _reason_of_averaging(module: FittedModule, trainer: pl.Trainer) -> str | None:
    instead = "Use unlearn_pl.callbacks.AveragedWeights(start_step, every_n_steps)."
    if isinstance(trainer.strategy, ModelParallelStrategy):
        return f"it copies the module, and sharded weights cannot be copied. {instead}"
    if module.spec.saved_parts and trainer.ckpt_path is not None:
        return f"it cannot resume from a checkpoint that holds adapters alone. {instead}"
    return None
