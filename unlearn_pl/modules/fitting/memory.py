"""Memory estimate of a module's step: printed before training, and added to out-of-memory errors."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from lightning.pytorch.strategies import DDPStrategy
from lightning.pytorch.utilities import rank_zero_info, rank_zero_warn

from unlearn_pl.engine import MemoryPlan, advice, memory_line, step_plan
from unlearn_pl.modules.fitted import FittedModule
from unlearn_pl.references import AdapterReference, FrozenReference


def announce_memory(module: FittedModule) -> None:
    """Print, on rank 0, the memory that a step will take; if the device has less, warn and name possible changes.

    Args:
        module: about to be fitted, with its optimizer.
    """
    plan = memory_plan(module)
    if plan is None:
        return
    available = device_memory(module.device)
    rank_zero_info(memory_line(plan, available))
    if available is not None and plan.peak > available:
        rank_zero_warn(f"{memory_line(plan, available)} It may not fit. {advice(plan, available)}")


def memory_plan(module: FittedModule) -> MemoryPlan | None:
    """The plan of a module that is about to be fitted; None if the sizes of the model or the data are unknown."""
    assert module.model is not None
    shape, data = module.spec.memory_shape(module.model), module.stream_data
    if shape is None or data is None or not data.longest_sequence:
        return None
    return step_plan(
        module.descent,
        module.runtime,
        module.model,
        shape,
        batch_size=data.micro_batch_size,
        length=data.longest_sequence,
        accumulates=module.micro_batches_per_step > 1,
        half="16" in str(module.trainer.precision),
        frozen_reference=isinstance(module.reference, FrozenReference),
        adapter_reference=isinstance(module.reference, AdapterReference),
        bucketed=isinstance(module.trainer.strategy, DDPStrategy),
        micro_batches=module.micro_batches_per_step,
    )


def device_memory(device: torch.device) -> int | None:
    """Bytes of the GPU, or of the machine when training runs on its CPU; None if it cannot be queried."""
    if device.type == "cuda":
        return torch.cuda.get_device_properties(device).total_memory
    if device.type != "cpu" or not hasattr(os, "sysconf"):
        return None
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


@contextmanager
def memory_errors_explained(module: FittedModule) -> Iterator[None]:
    """Add to an out-of-memory error what takes the memory and what to change.

    Args:
        module: the module whose step the body runs.
    """
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        # On a CPU, PyTorch has no exception class for it.
        out_of_memory = isinstance(error, MemoryError | torch.OutOfMemoryError) or "can't allocate memory" in str(error)
        plan = memory_plan(module) if out_of_memory else None
        if plan is not None:
            available = device_memory(module.device)
            error.add_note(f"{memory_line(plan, available)} {advice(plan, available or 0)}")
            error.add_note("Checkpoints that were written before are intact: resume with ckpt_path='last'.")
        raise
