"""Memory plan of one optimizer step, from its descent, model and data."""

from collections.abc import Mapping, Sequence

import torch
from torch import nn
from torch.distributed.tensor import DTensor
from torch.optim import Optimizer

from unlearn_pl.combiners import RowCombiner
from unlearn_pl.engine.descent import Descent
from unlearn_pl.engine.memory_plan import BackwardPass, MemoryPlan
from unlearn_pl.gradients import Runtime, group_streams
from unlearn_pl.models.model_shape import ModelShape, gradient_checkpointing_enabled, weight_bytes
from unlearn_pl.objectives import Objective
from unlearn_pl.optim import DualOptim
from unlearn_pl.types import Need, parse_needs

GIB = 2**30


def step_plan(
    descent: Descent,
    runtime: Runtime,
    model: nn.Module,
    shape: ModelShape,
    *,
    batch_size: int,
    length: int,
    accumulates: bool,
    half: bool = False,
    frozen_reference: bool = False,
    adapter_reference: bool = False,
    bucketed: bool = False,
    micro_batches: int | None = None,
) -> MemoryPlan:
    """The plan of a step; where gradient sources take turns, that of the one with the highest peak.

    Args:
        descent: the objectives, the combiner and the source of gradients.
        runtime: trained parameters, optimizer and ranks.
        model: holds the weights.
        shape: sizes of the model.
        batch_size: examples per stream, forward pass and device.
        length: tokens of the longest example.
        accumulates: a step has several micro-batches.
        half: activations have 16 bits.
        frozen_reference: a second, frozen model is held.
        adapter_reference: the model under its adapters is the reference.
        bucketed: DDP holds one more gradient.
        micro_batches: micro-batches per stream and step; by default 2 if the step has several, else 1.
    """
    first = runtime.parameters[0]
    size, optimizer, combiner = first.element_size(), runtime.optimizer, descent.combiner
    needs_of = [parse_needs(objective.needs) for objective in descent.objectives.values()]
    kept = (1 + accumulates) if micro_batches is None else micro_batches
    compared = kept * sum(Need("logits", reference=True) in needs for needs in needs_of)
    plans = []
    for source in descent.gradient.turns:
        keeps_rows = source.keeps_rows and (
            combiner.uses_gramian or isinstance(optimizer, DualOptim) or not source.plain
        )
        plan = MemoryPlan(
            shape=shape,
            batch_size=batch_size,
            length=length,
            passes=backward_passes(descent.objectives, keeps_rows, accumulates),
            gradients=len(descent.objectives) if keeps_rows else 1,
            row_share=source.row_share(size, first.device, runtime.world_size),
            weight_bytes=weight_bytes(model),
            compute_bytes=2 if half else 4,
            gradient_bytes=size,
            optimizer_bytes=optimizer_bytes(optimizer, size),
            checkpointing=gradient_checkpointing_enabled(model),
            held=source.copies,
            reference=frozen_reference,
            adapter_reference=adapter_reference,
            reference_states=any(need.reference and need.field == "hidden" for needs in needs_of for need in needs),
            whole_rows=isinstance(combiner, RowCombiner) or not source.plain,
            shards=runtime.world_size if any(isinstance(p, DTensor) for p in runtime.parameters) else 1,
            bucketed=bucketed and source.backpropagates,
            forward_only=not source.backpropagates,
            kept_logits=compared if frozen_reference and not source.backpropagates else 0,
        )
        plans.append(plan)
    return max(plans, key=lambda plan: plan.peak)


def backward_passes(objectives: Mapping[str, Objective], keeps_rows: bool, accumulates: bool) -> Sequence[BackwardPass]:
    """The backward passes of a step, in their order.

    Args:
        objectives: name to objective.
        keeps_rows: the gradient of each is kept; otherwise only that of their sum.
        accumulates: gradients are sums over several micro-batches, so that from the second one on the whole gradients
            of all objectives on the same streams exist.
    """
    passes: list[BackwardPass] = []
    for group in group_streams(objectives):
        here = [objectives[name] for name in group.objectives]
        needs = frozenset[Need]().union(*(parse_needs(objective.needs) for objective in here))
        logits = Need("logits") in needs
        uncompared = logits and Need("logits", reference=True) not in needs
        inner = not logits and not any(objective.reaches_all for objective in here)
        before = len(passes)
        for i in range(len(group.objectives) if keeps_rows else 1):
            if not keeps_rows:
                rows, unfinished = 0, int(before > 0 or accumulates)
            elif accumulates:
                rows, unfinished = before, len(group.objectives)
            else:
                rows, unfinished = before + i, 0
            passes.append(BackwardPass(len(group.streams), logits, rows, unfinished, uncompared, inner))
    return passes


def optimizer_bytes(optimizer: Optimizer, element_size: int) -> float:
    """Bytes of state per trained weight; two moments unless the optimizer is known to keep a different state."""
    if isinstance(optimizer, DualOptim):
        return (6 if optimizer.defaults.get("shared") else 4) * element_size
    kind = type(optimizer)
    if "8bit" in kind.__name__ or getattr(getattr(optimizer, "args", None), "optim_bits", 32) == 8:
        return 2
    if kind is torch.optim.SGD:
        return element_size * bool(optimizer.param_groups[0]["momentum"])
    if kind is torch.optim.Adafactor:
        return 0
    return 2 * element_size


def memory_line(plan: MemoryPlan, available: int | None) -> str:
    """One line with the estimate and its parts."""
    parts = ", ".join(f"{name} {_size(size)}" for name, size in plan.parts().items() if size)
    of_device = "" if available is None else f" of {_size(available)}"
    return f"memory per device, estimated: {_size(plan.peak)}{of_device} ({parts})."


def advice(plan: MemoryPlan, available: int) -> str:
    """Changes that would lower the peak, the most effective one first."""
    savings = sorted(plan.savings().items(), key=lambda item: item[1].peak)
    changes = [
        f"{change}: {_size(less.peak)}{' (fits)' if less.peak <= available else ''}"
        for change, less in savings
        if less.peak < 0.98 * plan.peak
    ]
    return f"To change, one at a time: {'; '.join(changes)}." if changes else ""


def _size(number: float) -> str:
    return f"{number / GIB:.1f} GiB" if number >= GIB else f"{number / 2**20:.0f} MiB"
