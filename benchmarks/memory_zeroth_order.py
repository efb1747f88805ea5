"""Peak memory of a step without backward passes: against inference and a copy of the weights, and first order.

    python -m benchmarks.memory_zeroth_order                  # 12 M weights
    python -m benchmarks.memory_zeroth_order --model 135m

Every loop runs in a process of its own. Writes its section of ``RESULTS.md``.
"""

import json
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
from benchmarks.memory import weights
from benchmarks.step_cost_loops import fit, make_module
from benchmarks.step_cost_task import Task
from unlearn_pl.combiners import MinNorm
from unlearn_pl.gradients import FirstOrder, GradientSource, Replay, ZerothOrder, window_of
from unlearn_pl.modules import UnlearningModule
from unlearn_pl.modules.fitting.memory import memory_plan

INFERENCE, ZEROTH, FIRST = "inference and a copy of the weights", "zeroth order, 4 directions", "first order"
SOURCES: dict[str, Callable[[], GradientSource]] = {
    INFERENCE: FirstOrder,
    ZEROTH: lambda: ZerothOrder(queries=4),
    FIRST: FirstOrder,
}
SGD = partial(torch.optim.SGD, lr=1e-5)
STEPS = 2


def evaluate(module: UnlearningModule, data: dict) -> None:
    """Run the forward passes of a step beside a copy of the trained weights."""
    copies = [parameter.detach().clone() for parameter in module.trained_parameters]
    runtime = module.runtime
    window = window_of({name: [batch] for name, batch in data.items()}, module.objectives, runtime.count)
    with runtime.forward_only():
        Replay(window, runtime).evaluate()
    del copies


def loop(name: str, task: Task, device: torch.device, found: dict, step_done: Callable[[], None]) -> None:
    """Train, or evaluate, until told to stop; note the estimate on the way."""
    module = make_module(MinNorm(), task, device, gradient=SOURCES[name](), optimizer=SGD)
    if name == INFERENCE:
        module.training_step = lambda batch, batch_idx: evaluate(module, batch)  # type: ignore[method-assign]

    def look() -> None:
        plan = memory_plan(module)
        assert plan is not None
        found["estimate"] = plan.peak / MIB
        step_done()

    fit(module, task, device, look)


def answer(request: dict) -> dict:
    """Estimate and peak of one loop, in MiB."""
    torch.set_num_threads(1)
    task, device = Task(**request["task"]), best_device()
    found: dict = {}
    take_steps(partial(loop, request["name"], replace(task, model="tiny"), device, found), 1)  # imports
    memory = PeakMemory(device)
    take_steps(partial(loop, request["name"], task, device, found), STEPS)
    return found | {"measured": memory.mib()}


def main() -> None:
    parser = command_line(__doc__)
    parser.add_argument("--model", default="12m", choices=["12m", "135m"])
    options = parser.parse_args()
    if options.child:
        print(json.dumps(answer(options.child)))
        return
    task = Task(options.model, objectives=3)
    measured = {
        name: in_fresh_process(
            "benchmarks.memory_zeroth_order", {"name": name, "task": asdict(task)}, exact_memory=True
        )
        for name in SOURCES
    }
    base = measured[INFERENCE]["measured"]
    rows = []
    for name, found in measured.items():
        own = found["measured"]
        error = "" if name == INFERENCE else f"{100 * (found['estimate'] / own - 1):+.0f} %"
        estimate = "" if name == INFERENCE else f"{found['estimate']:.0f}"
        rows.append([name, f"{own:.0f}", f"{100 * (own / base - 1):+.0f} %", estimate, error])
    total, _ = weights(task)
    head = (
        f"`python -m benchmarks.memory_zeroth_order --model {options.model}`: {total / 1e6:.1f} M weights in float32, "
        f"UCE, KL and NLL with MinNorm, SGD, 4 examples of 128 tokens per stream and step, the peak of {STEPS} steps "
        f"in MiB beyond what the process held before. {machine()}."
    )
    text = head + "\n\n" + table(["step", "measured", "against inference", "estimate", "error"], rows)
    report(f"memory without backward passes, {options.model}", text, options)


if __name__ == "__main__":
    main()
