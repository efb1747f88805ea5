"""Cost of an optimizer step, side by side with what one would use instead, in the same run.

    python -m benchmarks.step_cost                     # 12 M weights: some minutes on two cores
    python -m benchmarks.step_cost --model 135m        # the shape of SmolLM2-135M
    python -m benchmarks.step_cost --quick --print     # does it work? Nothing is written

Every comparison has a process of its own, in which the loops take turns; the peak memory of each loop is taken in one
more process, where it runs alone. Writes its section of ``RESULTS.md``.
"""

import json
import os
import shlex
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from fnmatch import fnmatchcase
from functools import cache

import torch

from benchmarks.harness import (
    Comparison,
    PeakMemory,
    Turns,
    best_device,
    command_line,
    compare,
    in_fresh_process,
    machine,
    report,
    table,
    take_steps,
)
from benchmarks.step_cost_task import Task
from benchmarks.step_cost_trl import has_trl, make_any_loop

MEMORY_STEPS = 3


@dataclass(frozen=True)
class Case:
    """A loop, its peer, and the number of operations that they should take.

    Attributes:
        title: first cell of its row.
        loop: name of the loop.
        peer: name of the other one.
        task: what both train.
        operations: forward passes counted as 1 and backward passes as 2 (1 where weights are frozen), loop / peer.
        cycle: steps after which the loop's cost repeats; they are timed together.
    """

    title: str
    loop: str
    peer: str
    task: Task
    operations: str = ""
    cycle: int = 1

    @property
    def bound(self) -> float:
        """The predicted ratio; NaN where there is none."""
        over, _, under = self.operations.partition("/")
        return int(over) / int(under) if under else float("nan")


def against_sum(model: str, dtype: str) -> list[Case]:
    """Per-objective gradients and the weighted sum, through this library, against the sum in plain PyTorch."""
    two, three = Task(model, objectives=2, dtype=dtype), Task(model, objectives=3, dtype=dtype)
    in_memory = replace(three, reference="memory")
    lora = replace(three, lora=True)
    short = {"length": 64}
    pairs = [
        ("K = 2", two, "6/6"),
        ("K = 3, reference given", three, "8/6"),
        ("K = 3, reference in memory", in_memory, "9/7"),
        ("K = 3, reference given, checkpointing", replace(three, checkpointing=True), "11/8"),
        ("K = 3, reference in memory, checkpointing", replace(in_memory, checkpointing=True), "12/9"),
        ("K = 2, LoRA", replace(two, lora=True), "4/4"),
        ("K = 3, LoRA, reference given", lora, "5/4"),
        ("K = 3, LoRA, adapter switched off", replace(lora, reference="memory"), "6/5"),
        ("K = 2, 4 x 64 tokens", replace(two, **short), "6/6"),
        ("K = 3, reference given, 4 x 64 tokens", replace(three, **short), "8/6"),
    ]
    return [Case(title, "MinNorm", "plain", task, operations) for title, task, operations in pairs]


def against_others(model: str, dtype: str) -> list[Case]:
    """Other ways to take a step: of this library against plain PyTorch, of other libraries against this one."""
    two, three = Task(model, objectives=2, dtype=dtype), Task(model, objectives=3, dtype=dtype)
    cases = [
        Case(
            "MinNorm, refresh_every=4 (K = 3, reference given) / plain",
            "MinNorm, refresh_every=4",
            "plain",
            three,
            cycle=4,
        ),
        Case("MinNorm, SketchedRows (K = 3, reference given) / plain", "MinNorm, sketch", "plain", three),
        Case(
            "GoalBarrier, RoleSums (K = 3, reference given) / plain", "GoalBarrier, RoleSums", "plain", three, cycle=8
        ),
        Case("MinNorm (K = 2) / the same without the guard of weights", "MinNorm", "MinNorm, unguarded", two),
        Case("Scalarization (K = 2) / plain", "Scalarization", "plain", two),
        Case("Scalarization (K = 3) / plain", "Scalarization", "plain", three),
        Case("Scalarization (K = 2) / transformers.Trainer", "Scalarization", "transformers.Trainer", two),
        Case("Scalarization (K = 3) / transformers.Trainer", "Scalarization", "transformers.Trainer", three),
        Case("MinNorm (K = 2) / transformers.Trainer with the sum", "MinNorm", "transformers.Trainer", two),
        Case("torchjd backward / MinNorm, K = 2", "torchjd backward", "MinNorm", two),
        Case("torchjd backward / MinNorm, K = 3", "torchjd backward", "MinNorm", three),
        Case("NPO with CachedReference / SimNPO", "NPO, cached reference", "SimNPO", two),
    ]
    if model == "12m":  # the engine refuses tied weights, which every small language model has
        untied = replace(two, tied=False)
        cases.append(Case("torchjd autogram / MinNorm, K = 2, untied", "torchjd autogram", "MinNorm", untied))
    return cases


def against_trl(model: str, dtype: str) -> list[Case]:
    """The preference losses of TRL's trainers, through this library against TRL; none without TRL."""
    if not has_trl():
        print("TRL is not installed: its trainers are left out", file=sys.stderr)
        return []
    trainings = {"all weights": {}, "LoRA": {"lora": True}}
    return [
        Case(f"{kind}, {name} / TRL", kind, f"TRL {kind}", Task(model, pairs=True, dtype=dtype, **options))
        for kind in ("DPO", "KTO")
        for name, options in trainings.items()
    ]


def measure_time(case: Case, warm_up: int, rounds: int, threads: int) -> Comparison:
    """The comparison of ``case``, in a process of its own."""
    return Comparison(**_child("time", case, threads, warm_up=warm_up, rounds=rounds))


@cache
def measure_memory(loop: str, task: Task, threads: int) -> float:
    """Peak MiB of a loop, in a process of its own."""
    return _child("memory", Case(str(task), loop, loop, task), threads, exact_memory=True)["mib"]


def _child(what: str, case: Case, threads: int, exact_memory: bool = False, **options: int) -> dict:
    print(f"{what}: {case.title}, {case.loop}", file=sys.stderr, flush=True)
    request = {"what": what, "case": asdict(case), **options}
    measured = in_fresh_process("benchmarks.step_cost", request, threads, exact_memory)
    print(measured, file=sys.stderr, flush=True)  # the tables come at the end, and a run may be stopped before
    return measured


def answer(request: dict) -> dict:
    """What a child process measures."""
    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    device = best_device()
    case = Case(**{**request["case"], "task": Task(**request["case"]["task"])})
    if request["what"] == "memory":
        return {"mib": peak(case.loop, case.task, device)}
    return asdict(timed(case, request["warm_up"], request["rounds"], device))


def timed(case: Case, warm_up: int, rounds: int, device: torch.device) -> Comparison:
    """The comparison of ``case``, in this process."""
    loops = {name: make_any_loop(name, case.task, device) for name in (case.loop, case.peer)}
    laps = Turns(loops, warm_up + rounds * case.cycle, device).run()
    own, other = (cycles(laps[name][warm_up:], case.cycle) for name in (case.loop, case.peer))
    return compare(own, other)


def peak(loop: str, task: Task, device: torch.device) -> float:
    """Peak MiB of a loop, in this process."""
    # What a loop imports when it starts is no memory of training.
    take_steps(make_any_loop(loop, replace(task, model="tiny"), device), 1)
    contestant, memory = make_any_loop(loop, task, device), PeakMemory(device)
    take_steps(contestant, MEMORY_STEPS)
    return memory.mib()


def cycles(laps: Sequence[tuple[float, float]], length: int) -> list[tuple[float, float]]:
    """Mean seconds per step over each ``length`` steps."""
    groups = [laps[i : i + length] for i in range(0, len(laps), length)]
    return [(sum(a for a, _ in group) / length, sum(b for _, b in group) / length) for group in groups]


def sum_table(cases: Sequence[Case], warm_up: int, rounds: int, threads: int) -> str:
    """Time and memory against the weighted sum in plain PyTorch."""
    rows = []
    for case in cases:
        time = measure_time(case, warm_up, rounds, threads)
        rows.append(
            [
                case.title,
                f"{case.operations} = {case.bound:.2f}",
                *time_cells(time),
                f"{time.ratio / case.bound:.2f}",
                f"{case.task.tokens / time.seconds:.0f}",
                _memory_cell(case, threads),
            ]
        )
    header = ["MinNorm / plain sum", "operations", "time (quartiles)", "processor", "seconds", "time / operations",
              "tokens/s", "peak MiB"]  # fmt: skip
    return table(header, rows)


def peer_table(cases: Sequence[Case], warm_up: int, rounds: int, threads: int) -> str:
    """Time and memory of pairs of loops."""
    rows = []
    for case in cases:
        time = measure_time(case, warm_up, rounds, threads)
        rows.append([case.title, *time_cells(time), _memory_cell(case, threads)])
    return table(["pair", "time (quartiles)", "processor", "seconds", "peak MiB"], rows)


def time_cells(time: Comparison) -> list[str]:
    """Ratio with quartiles, ratio of the processor's time, and seconds of both."""
    return [
        f"**{time.ratio:.2f}** ({time.low:.2f} to {time.high:.2f})",
        f"{time.processor:.2f}",
        f"{time.seconds:.2f}, {time.peer_seconds:.2f}",
    ]


def _named(case: Case, patterns: Sequence[str]) -> bool:
    return any(fnmatchcase(case.title, pattern) for pattern in patterns)


def _memory_cell(case: Case, threads: int) -> str:
    return ", ".join(f"{measure_memory(loop, case.task, threads):.0f}" for loop in (case.loop, case.peer))


def main() -> None:
    parser = command_line(__doc__)
    parser.add_argument("--model", default="12m", choices=["12m", "135m", "1b"])
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--warm-up", type=int, default=2)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--dtype", default="float32", choices=["float32", "bfloat16"])
    parser.add_argument("--quick", action="store_true", help="three rounds, four cases")
    parser.add_argument("--only", nargs="+", help="only cases with such a title; * stands for anything")
    options = parser.parse_args()
    if options.child:
        print(json.dumps(answer(options.child)))
        return
    sums, others = against_sum(options.model, options.dtype), against_others(options.model, options.dtype)
    others += against_trl(options.model, options.dtype)
    if options.quick:
        options.rounds, options.warm_up, sums, others = 3, 1, sums[:2], others[:2]
    if options.only:
        sums, others = ([case for case in cases if _named(case, options.only)] for cases in (sums, others))
    measure = options.warm_up, options.rounds, options.threads
    command = f"python -m benchmarks.step_cost --model {options.model} --threads {options.threads}"
    if options.only:
        command += f" --only {shlex.join(options.only)}"
    text = "\n\n".join(
        [
            f"`{command} --rounds {options.rounds}`: {options.dtype}, AdamW, clipping, 4 examples of 128 tokens per "
            f"stream and step unless it says otherwise, {options.rounds} rounds after {options.warm_up} of warm-up, "
            f"{options.threads} thread(s). {machine()}.",
            *([sum_table(sums, *measure)] if sums else []),
            *([peer_table(others, *measure)] if others else []),
        ]
    )
    report(f"step cost, {options.model}, {options.threads} thread(s)", text, options)


if __name__ == "__main__":
    main()
