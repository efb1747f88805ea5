"""Peak memory of a step: against plain PyTorch, and against what the estimate says.

    python -m benchmarks.memory                  # 12 M weights
    python -m benchmarks.memory --model 135m
    python -m benchmarks.memory --quick --print  # does it work? Nothing is written

Every loop runs in a process of its own. Writes its section of ``RESULTS.md``.
"""

import json
import sys
from collections.abc import Callable
from dataclasses import asdict, replace
from functools import partial

import torch

from benchmarks.harness import (
    MIB,
    PeakMemory,
    best_device,
    command_line,
    in_fresh_process,
    machine,
    report,
    table,
    take_steps,
)
from benchmarks.step_cost import MEMORY_STEPS, measure_memory
from benchmarks.step_cost_loops import fit, make_module
from benchmarks.step_cost_task import Task
from unlearn_pl.combiners import MinNorm, Scalarization
from unlearn_pl.modules.fitting.memory import memory_plan


def weights(task: Task) -> tuple[int, int]:
    """Weights of the model, and those of them that are trained."""
    parameters = list(task.make_model(torch.device("meta")).parameters())
    return sum(p.numel() for p in parameters), sum(p.numel() for p in parameters if p.requires_grad)


def against_plain(model: str, dtype: str) -> str:
    """Rows: what is compared, our peak, the peer's, and the bound."""
    two, three = Task(model, objectives=2, dtype=dtype), Task(model, objectives=3, dtype=dtype)
    bytes_each = getattr(torch, dtype).itemsize
    copy = weights(three)[1] * bytes_each / MIB
    by_stream, plain = "plain, stream by stream", "plain"
    pairs: list[tuple[str, Task, str, Callable[[float], float]]] = [
        ("K = 3, stream by stream + 2 gradients + 3 %", three, by_stream, lambda mib: 1.03 * (mib + 2 * copy)),
        ("K = 2, both graphs alive", two, plain, lambda mib: mib),
        ("K = 2, LoRA, both graphs alive + 3 %", replace(two, lora=True), plain, lambda mib: 1.03 * mib),
        ("K = 3, LoRA, both graphs alive + 3 %", replace(three, lora=True), plain, lambda mib: 1.03 * mib),
        ("K = 3, LoRA, stream by stream + 3 %", replace(three, lora=True), by_stream, lambda mib: 1.03 * mib),
    ]
    rows = []
    for title, task, peer, bound in pairs:
        own, other = (measure_memory(loop, task, 1) for loop in ("MinNorm", peer))
        rows.append(
            [title, f"{own:.0f}", f"{other:.0f}", f"{bound(other):.0f}", "yes" if own <= bound(other) else "no"]
        )
    note = f"A gradient takes {copy:.0f} MiB."
    return note + "\n\n" + table(["MinNorm against the plain sum", "MinNorm", "plain sum", "bound", "kept"], rows)


ESTIMATED = {
    "plain sum of 2": ("Scalarization", {"objectives": 2}),
    "K = 2": ("MinNorm", {"objectives": 2}),
    "K = 3, frozen reference": ("MinNorm", {"objectives": 3, "reference": "memory"}),
    "K = 3, checkpointing": ("MinNorm", {"objectives": 3, "checkpointing": True}),
    "K = 3, LoRA": ("MinNorm", {"objectives": 3, "lora": True, "reference": "memory"}),
    "K = 2, LoRA, checkpointing": ("MinNorm", {"objectives": 2, "lora": True, "checkpointing": True}),
}


def against_estimate(model: str, dtype: str, only: int | None) -> str:
    """Rows: a configuration, the estimate, and what was measured."""
    rows = []
    for title, (combiner, options) in list(ESTIMATED.items())[:only]:
        print(f"estimate: {title}", file=sys.stderr, flush=True)
        request = {"combiner": combiner, "task": asdict(Task(model, dtype=dtype, **options))}
        found = in_fresh_process("benchmarks.memory", request, exact_memory=True)
        parts = ", ".join(f"{name} {mib:.0f}" for name, mib in found["parts"].items() if mib)
        ratio = found["estimate"] / found["measured"]
        rows.append(
            [title, f"{found['estimate']:.0f}", f"{found['measured']:.0f}", f"{100 * (ratio - 1):+.0f} %", parts]
        )
    return table(["step", "estimate", "measured", "error", "parts of the estimate, MiB"], rows)


def answer(request: dict) -> dict:
    """Estimate and peak of one configuration, in MiB."""
    torch.set_num_threads(1)
    return estimated(request["combiner"], Task(**request["task"]), best_device())


def estimated(name: str, task: Task, device: torch.device) -> dict:
    """``estimate``, its ``parts`` and what was ``measured`` in this process, in MiB.

    Args:
        name: the combiner, ``MinNorm`` or ``Scalarization``.
        task: what is trained.
        device: where.
    """
    combiner = {"MinNorm": MinNorm, "Scalarization": Scalarization}[name]
    small = replace(task, model="tiny")
    take_steps(partial(fit, make_module(combiner(), small, device), small, device), 1)  # imports
    memory = PeakMemory(device)
    module = make_module(combiner(), task, device)
    found: dict = {}

    def loop(step_done: Callable[[], None]) -> None:
        def look() -> None:
            plan = memory_plan(module)
            assert plan is not None
            found["estimate"] = plan.peak / MIB
            found["parts"] = {name: size / MIB for name, size in plan.parts().items()}
            step_done()

        fit(module, task, device, look)

    take_steps(loop, MEMORY_STEPS)
    return found | {"measured": memory.mib()}


def main() -> None:
    parser = command_line(__doc__)
    parser.add_argument("--model", default="12m", choices=["12m", "135m", "1b"])
    parser.add_argument("--dtype", default="float32", choices=["float32", "bfloat16"])
    parser.add_argument("--quick", action="store_true", help="two estimates only")
    options = parser.parse_args()
    if options.child:
        print(json.dumps(answer(options.child)))
        return
    total, _ = weights(Task(options.model))
    head = (
        f"`python -m benchmarks.memory --model {options.model}`: {total / 1e6:.1f} M weights, {options.dtype}, AdamW, "
        f"4 examples of 128 tokens per stream and step, the peak of {MEMORY_STEPS} steps in MiB beyond what the "
        f"process held before. {machine()}."
    )
    texts = [] if options.quick else [against_plain(options.model, options.dtype)]
    texts.append(against_estimate(options.model, options.dtype, 2 if options.quick else None))
    text = "\n\n".join([head, *texts])
    report(f"memory, {options.model}", text, options)


if __name__ == "__main__":
    main()
