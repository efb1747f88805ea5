"""How much memory a module's step will take: estimated, printed, and explained when it was not enough."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch
from lightning.pytorch.strategies import DDPStrategy
from lightning.pytorch.utilities import rank_zero_info, rank_zero_warn
from torch.distributed.tensor import DTensor
from torch.optim import Optimizer

from unlearn_pl.combiners import RowCombiner
from unlearn_pl.gradients import BFloat16Rows, FirstOrder, OffloadedRows, group_streams
from unlearn_pl.models.language.model_shape import ModelShape, gradient_checkpointing_enabled, weight_bytes
from unlearn_pl.models.memory_plan import BackwardPass, MemoryPlan
from unlearn_pl.objectives import Objective
from unlearn_pl.optim import DualOptim
from unlearn_pl.references import FrozenReference

if TYPE_CHECKING:
    from unlearn_pl.modules.descent import DescentModule

GIB = 2**30


def announce_memory(module: "DescentModule") -> None:
    """Print, on rank 0, the memory that a step will take; warn with what to change when the device has less.

    Args:
        module: is about to be fitted, its optimizer made.
    """
    plan = memory_plan(module)
    if plan is None:
        return
    available = device_memory(module.device)
    rank_zero_info(memory_line(plan, available))
    if available is not None and plan.peak > available:
        rank_zero_warn(f"{memory_line(plan, available)} It may not fit. {advice(plan, available)}")


def memory_plan(module: "DescentModule") -> MemoryPlan | None:
    """The plan of a module that is about to be fitted; None for models and data that do not say their sizes."""
    assert module.model is not None
    shape = ModelShape.of(module.model)
    length = getattr(module.datamodule, "longest_sequence", 0)
    if shape is None or not length:
        return None
    trained = module.trained_parameters
    precision = str(module.trainer.precision)
    optimizer: Optimizer = module.optimizers(use_pl_optimizer=False)  # type: ignore[assignment]
    keeps_rows = module.gramian == "exact" and (
        module.combiner.uses_gramian or isinstance(optimizer, DualOptim) or not isinstance(module.gradient, FirstOrder)
    )
    return MemoryPlan(
        shape=shape,
        batch_size=getattr(module.datamodule, "micro_batch_size", 1),
        length=length,
        passes=backward_passes(module.objectives, keeps_rows, module.micro_batches_per_step > 1),
        gradients=len(module.objectives) if keeps_rows else 1,
        row_share=row_share(module, trained[0].element_size()),
        weight_bytes=weight_bytes(module.model),
        compute_bytes=2 if "16" in precision else 4,
        gradient_bytes=trained[0].element_size(),
        optimizer_bytes=optimizer_bytes(optimizer, trained[0].element_size()),
        checkpointing=gradient_checkpointing_enabled(module.model),
        held=module.gradient.copies,
        reference=isinstance(getattr(module, "reference", None), FrozenReference),
        reference_states=any("ref_hidden" in need for o in module.objectives.values() for need in o.needs),
        whole_rows=isinstance(module.combiner, RowCombiner) or not isinstance(module.gradient, FirstOrder),
        shards=module.trainer.world_size if any(isinstance(p, DTensor) for p in trained) else 1,
        bucketed=isinstance(module.trainer.strategy, DDPStrategy),
    )


def backward_passes(objectives: dict[str, Objective], keeps_rows: bool, accumulates: bool) -> Sequence[BackwardPass]:
    """The backward passes of a step, in their order.

    Args:
        objectives: name to objective.
        keeps_rows: a gradient of each is kept; otherwise only that of their sum.
        accumulates: gradients are made of several micro-batches, so that from the second one on those of all
            objectives on the same streams are there, whole.
    """
    passes: list[BackwardPass] = []
    for group in group_streams(objectives):
        logits = any("logits" in objectives[name].needs for name in group.objectives)
        before = len(passes)
        for i in range(len(group.objectives) if keeps_rows else 1):
            if not keeps_rows:
                rows, unfinished = 0, int(before > 0 or accumulates)
            elif accumulates:
                rows, unfinished = before, len(group.objectives)
            else:
                rows, unfinished = before + i, 0
            passes.append(BackwardPass(len(group.streams), logits, rows, unfinished))
    return passes


def row_share(module: "DescentModule", element_size: int) -> float:
    """What a row that waits takes on the device, as a part of a gradient."""
    storage = module.row_storage
    if isinstance(storage, BFloat16Rows):
        return 2 / element_size
    if isinstance(storage, OffloadedRows) and module.device.type == "cuda":
        return 0
    return 1 / module.trainer.world_size if storage.scatters else 1


def optimizer_bytes(optimizer: Optimizer, element_size: int) -> float:
    """Bytes of state per trained weight; two moments unless the optimizer is known to keep something else."""
    if isinstance(optimizer, DualOptim):
        return 4 * element_size
    kind = type(optimizer)
    if "8bit" in kind.__name__ or getattr(getattr(optimizer, "args", None), "optim_bits", 32) == 8:
        return 2
    if kind is torch.optim.SGD:
        return element_size * bool(optimizer.param_groups[0]["momentum"])
    if kind is torch.optim.Adafactor:
        return 0
    return 2 * element_size


def device_memory(device: torch.device) -> int | None:
    """Bytes of the GPU, or of the machine when training runs on its CPU; None where it can not be asked."""
    if device.type == "cuda":
        return torch.cuda.get_device_properties(device).total_memory
    if device.type != "cpu" or not hasattr(os, "sysconf"):
        return None
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def memory_line(plan: MemoryPlan, available: int | None) -> str:
    """One line with the estimate and its parts."""
    parts = ", ".join(f"{name} {_size(size)}" for name, size in plan.parts().items() if size)
    of_device = "" if available is None else f" of {_size(available)}"
    return f"memory per device, estimated: {_size(plan.peak)}{of_device} ({parts})."


def advice(plan: MemoryPlan, available: int) -> str:
    """What would lower the peak, the most effective change first."""
    savings = sorted(plan.savings().items(), key=lambda item: item[1].peak)
    changes = [
        f"{change}: {_size(less.peak)}{' (fits)' if less.peak <= available else ''}"
        for change, less in savings
        if less.peak < 0.98 * plan.peak
    ]
    return f"To change, one at a time: {'; '.join(changes)}." if changes else ""


@contextmanager
def memory_errors_explained(module: "DescentModule") -> Iterator[None]:
    """Let an out-of-memory error say what takes the memory and what to change.

    Args:
        module: whose step the body runs.
    """
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        # On a CPU, PyTorch has no type of its own for it.
        out_of_memory = isinstance(error, MemoryError | torch.OutOfMemoryError) or "can't allocate memory" in str(error)
        plan = memory_plan(module) if out_of_memory else None
        if plan is not None:
            available = device_memory(module.device)
            error.add_note(f"{memory_line(plan, available)} {advice(plan, available or 0)}")
            error.add_note("Checkpoints that were written before are intact: resume with ckpt_path='last'.")
        raise


def _size(number: float) -> str:
    return f"{number / GIB:.1f} GiB" if number >= GIB else f"{number / 2**20:.0f} MiB"
