"""Validation of a module and its Trainer before any work is done; every error names a supported alternative."""

import math
from collections.abc import Mapping
from typing import Any

import lightning.pytorch as pl
from lightning.pytorch.strategies import DeepSpeedStrategy, FSDPStrategy, ModelParallelStrategy
from lightning.pytorch.utilities import rank_zero_warn

from unlearn_pl.gradients import GradientSource
from unlearn_pl.masks import Mask
from unlearn_pl.modules.fitted import FittedModule
from unlearn_pl.modules.fitting.outputs import check_checkpoint_folders
from unlearn_pl.modules.fitting.resuming import check_whole
from unlearn_pl.modules.lightning_internals import (
    attached_datamodule,
    returns_weights_alone,
    tensor_parallel_size,
    uses_static_graph,
)
from unlearn_pl.modules.safety.optimizer_class import check_optimizer_maker
from unlearn_pl.modules.safety.scheduler_class import check_schedule
from unlearn_pl.objectives import Objective
from unlearn_pl.references import Reference
from unlearn_pl.types import StreamProvider, parse_needs


def check_clipping(gradient_clip_val: float | None) -> None:
    """Check the bound on the norm of the gradient.

    Raises:
        ValueError: naming what is accepted.
    """
    if gradient_clip_val is not None and not 0 < gradient_clip_val < math.inf:
        raise ValueError(f"gradient_clip_val is {gradient_clip_val}; accepted: a positive norm, or None.")


def check_trainer(trainer: pl.Trainer) -> None:
    """Check the Trainer's flags against manual optimization with a gradient per objective.

    Raises:
        ValueError: for gradient clipping and accumulation on the Trainer, ``overfit_batches`` with a data module of
            streams, FSDP1, DeepSpeed, tensor parallelism and ``16-mixed`` precision, and for a folder of checkpoints
            that cannot be written to.
    """
    if trainer.gradient_clip_val is not None:
        raise ValueError(
            f"Trainer(gradient_clip_val={trainer.gradient_clip_val}) would clip before the objectives are combined. "
            f"Give it to the module instead: gradient_clip_val={trainer.gradient_clip_val}."
        )
    if trainer.gradient_clip_algorithm not in (None, "norm"):
        raise ValueError(
            f"Trainer(gradient_clip_algorithm={trainer.gradient_clip_algorithm.value!r}) is not supported; accepted: "
            "'norm'. The module clips the norm of the combined gradient: gradient_clip_val of the module."
        )
    overfit: float = trainer.overfit_batches  # type: ignore[attr-defined]
    if overfit and isinstance(attached_datamodule(trainer), StreamProvider):
        raise ValueError(
            f"Trainer(overfit_batches={overfit}) would replace the samplers of the streams. Give the "
            "data module fewer rows instead; limit_train_batches makes epochs shorter."
        )
    if trainer.accumulate_grad_batches != 1:
        raise ValueError(
            f"Trainer(accumulate_grad_batches={trainer.accumulate_grad_batches}) does not reach manual optimization. "
            "Set batch_size (per optimizer step) and micro_batch_size (per device) on the data module, or, for plain "
            "data loaders, micro_batch_size on the module."
        )
    if trainer.precision == "16-mixed":
        raise ValueError(
            "precision='16-mixed' scales the gradients, and with them the Gramian. "
            "Use precision='bf16-mixed', 'bf16-true' or '32-true'."
        )
    _check_strategy(trainer)
    check_checkpoint_folders(trainer)
    if returns_weights_alone(trainer.strategy):
        rank_zero_warn(
            "This strategy trains in processes that end with fit. Lightning brings back weights and metrics, but not "
            "trainer.global_step, which stays 0, and the states of the module and its callbacks: a checkpoint that is "
            "saved after fit does not resume. Let ModelCheckpoint and SavePretrained write inside fit, or use "
            "strategy='ddp' in a script."
        )


def _check_strategy(trainer: pl.Trainer) -> None:
    strategy = trainer.strategy
    if isinstance(strategy, FSDPStrategy):
        raise ValueError(
            "strategy='fsdp' (FSDP1) does not support a backward pass per objective. Use strategy='fsdp2' or 'ddp'."
        )
    if isinstance(strategy, DeepSpeedStrategy):
        raise ValueError(
            "DeepSpeed keeps gradients inside its engine, out of reach of per-objective gradients. "
            "Use strategy='fsdp2' or 'ddp'."
        )
    if uses_static_graph(strategy):
        raise ValueError(
            "DDPStrategy(static_graph=True) expects one backward pass per step, but there is one per objective. "
            "Use DDPStrategy(static_graph=False)."
        )
    # Lightning's "auto" is tensor parallelism inside a node: every rank would see, and count, the same examples.
    if isinstance(strategy, ModelParallelStrategy) and (size := tensor_parallel_size(strategy)) != 1:
        raise ValueError(
            f"tensor_parallel_size={size!r} is not supported; accepted: 1. "
            "Use strategy='fsdp2', which shards over all devices."
        )


def check_parts(module: FittedModule) -> None:
    """Check the parts of a module, which a subclass may have added to or replaced after ``super().__init__()``.

    Raises:
        ValueError: for an objective, an optimizer, a schedule or a bound on gradients that is none, and
            for parts that do not fit together.
    """
    for name, objective in module.objectives.items():
        if not isinstance(objective, Objective):
            raise ValueError(
                f"objectives[{name!r}] is a {type(objective).__name__}; accepted: an objective such as CausalLMLoss()."
            )
    module.descent.check()
    check_clipping(module.gradient_clip_val)
    check_reference(module.objectives, module.reference)
    check_optimizer_maker(module.optimizer)
    check_schedule(module.schedule)


def check_reference(objectives: Mapping[str, Objective], reference: Reference | None) -> None:
    """Check that there is a reference model if objectives compare with one.

    Raises:
        ValueError: naming the objectives.
    """
    needing = [name for name, o in objectives.items() if any(need.reference for need in parse_needs(o.needs))]
    if needing and reference is None:
        raise ValueError(
            f"Objectives {needing} compare with the reference model, but reference is None. "
            "Accepted: FrozenReference(), CachedReference() or, with LoRA, AdapterReference()."
        )


def check_scattering(source: GradientSource, trainer: pl.Trainer) -> None:
    """Check that rows that are sharded already are not scattered as well.

    Raises:
        ValueError: naming the strategy.
    """
    if any(turn.scatters for turn in source.turns) and isinstance(trainer.strategy, ModelParallelStrategy):
        raise ValueError(
            f"gradient={type(source).__name__}() with these arguments scatters rows over ranks, but those of "
            "strategy='fsdp2' are sharded already. Accepted with it: gradient=FirstOrder()."
        )


def check_resumed(checkpoint: Mapping[str, Any], mask: Mask | None) -> None:
    """Check that a run can be resumed from ``checkpoint``.

    Args:
        checkpoint: as Lightning loads it.
        mask: mask of the module that resumes.

    Raises:
        ValueError: if the checkpoint was trained with another mask (the optimizer's moments would move weights that
            this one keeps fixed), or by a version that counted micro-batches instead of optimizer steps, or if it holds
            weights alone.
    """
    check_whole(checkpoint)
    if "micro_batches_per_step" in checkpoint["unlearn_pl"]:
        raise ValueError(
            "The checkpoint was written by an earlier version, which counted its position in the data in micro-batches "
            "instead of optimizer steps. It can be loaded and evaluated, but not resumed: start a new run from the "
            "weights that SavePretrained exports."
        )
    if "unlearn_pl_mask" not in checkpoint:
        return
    before, now = checkpoint["unlearn_pl_mask"], None if mask is None else mask.fingerprint()
    if before != now:
        raise ValueError(
            f"The checkpoint was trained with {_mask_name(before)}, and would be resumed with {_mask_name(now)}: "
            "its optimizer would continue to move what is masked now. Resume with the same mask, or start a new run "
            "from the exported model."
        )


def _mask_name(fingerprint: str | None) -> str:
    return "no mask" if fingerprint is None else f"the mask {fingerprint[:12]}"
