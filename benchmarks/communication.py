"""What the ranks send to each other in a step: counted by PyTorch's profiler, predicted, and what time it takes.

    python -m benchmarks.communication          # one and two gloo ranks on this machine
    python -m benchmarks.communication --print

Counted are the bytes that enter a collective operation on a rank, whoever calls it (DDP and FSDP2 do it from C++).
What travels depends on the algorithm; a ring over N ranks sends 2 (N - 1)/N times the bytes of an all-reduce, and
(N - 1)/N times those of a reduce-scatter or an all-gather, per rank. The steps after the counted one are timed; every
configuration runs in processes of its own, all of them in turn, several times. Writes its section of ``RESULTS.md``.
"""

import json
import math
import os
import statistics
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import lightning.pytorch as pl
import torch
from torch.profiler import ProfilerActivity, profile

from benchmarks.harness import RESULTS, command_line, machine, report, table
from benchmarks.step_cost_loops import make_module
from benchmarks.step_cost_task import RandomTokens, Task
from unlearn_pl.combiners import Combiner, MinNorm, Scalarization
from unlearn_pl.gradients import FirstOrder, ScatteredRows

DOUBLE, SINGLE = 8, 4
BYTES = {"double": DOUBLE, "float": SINGLE, "c10::BFloat16": 2, "long int": 8, "int": 4, "unsigned char": 1, "bool": 1}
TASK = Task("12m", objectives=3, batch_size=2, length=32)
COMBINERS: dict[str, Callable[[], Combiner]] = {"MinNorm": MinNorm, "Scalarization": Scalarization}
RUNS = [
    ("MinNorm", "auto", 1, False),
    ("MinNorm", "ddp", 2, False),
    ("MinNorm", "ddp", 2, True),
    ("MinNorm", "fsdp2", 2, False),
    ("Scalarization", "auto", 1, False),
    ("Scalarization", "ddp", 2, False),
    ("Scalarization", "fsdp2", 2, False),
]
"""Combiner, strategy, ranks, and whether the rows are scattered over them."""
PROFILED_STEP = 2
STEPS = 9


class CountBytes(pl.Callback):
    """Profiles one step, and times those that follow."""

    def __init__(self) -> None:
        self.ends: list[float] = []

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: object, batch_idx: int
    ) -> None:
        if batch_idx == PROFILED_STEP:
            self.profile = profile(activities=[ProfilerActivity.CPU], record_shapes=True)
            self.profile.start()

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: object, batch: object, batch_idx: int
    ) -> None:
        if batch_idx == PROFILED_STEP:
            self.profile.stop()
        if batch_idx >= PROFILED_STEP:
            self.ends.append(time.perf_counter())

    def seconds(self) -> float:
        """Median of a step."""
        return statistics.median(end - start for start, end in pairwise(self.ends))

    def bytes(self) -> dict[str, int]:
        """Kind of collective to the bytes that this rank put into it, as gloo ran it."""
        assert self.profile.profiler is not None
        total: Counter[str] = Counter()
        for event in self.profile.profiler.kineto_results.events():
            backend, _, kind = event.name().partition(":")
            if backend in ("gloo", "nccl"):
                sizes = zip(event.shapes(), event.dtypes(), strict=True)
                total[kind] += sum(math.prod(shape) * BYTES[dtype] for shape, dtype in sizes if shape)
        return dict(total)


def answer(request: dict) -> dict[str, Any] | None:
    """Bytes and seconds of one step on rank 0; None on the others."""
    torch.set_num_threads(1)
    count = CountBytes()
    trainer = pl.Trainer(
        accelerator="cpu",
        devices=request["ranks"],
        strategy=request["strategy"],
        max_steps=STEPS,
        limit_val_batches=0,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
        callbacks=[count],
    )
    device = torch.device("cpu")
    rows = ScatteredRows() if request["strategy"] == "ddp" and request["scattered"] else None
    module = make_module(COMBINERS[request["combiner"]](), TASK, device, gradient=FirstOrder(rows=rows))
    trainer.fit(module, RandomTokens(TASK))
    return {"bytes": count.bytes(), "seconds": count.seconds()} if trainer.is_global_zero else None


def predicted(combiner: str, strategy: str, ranks: int, scattered: bool = False) -> dict[str, int]:
    """Kind of collective to the bytes that a rank puts into it, by the formulas of ``README.md``."""
    if ranks == 1:
        return {}
    sizes = [p.numel() for p in TASK.make_model(torch.device("meta")).parameters()]
    weights, k, streams = SINGLE * sum(sizes), TASK.objectives, len(TASK.streams)
    backwards, gradients = (k, k) if combiner == "MinNorm" else (streams, 1)
    facts = bytes_of_facts(combiner, k)
    if scattered:
        return {"all_gather": weights // ranks, "all_reduce": facts, "all_to_all": k * weights}
    if strategy == "ddp":
        return {"all_reduce": gradients * weights + facts}
    root = SINGLE * (sizes[0] + sizes[-1])  # the embedding, which is the head, and the last norm
    gathered = (streams + backwards) * weights - streams * root
    norms = SINGLE * len(sizes)
    return {"all_gather": gathered // ranks, "all_reduce": backwards * weights + facts + norms}


def bytes_of_facts(combiner: str, objectives: int) -> int:
    """Bytes of what is known about a step before its gradient is taken: counts, readings and products."""
    counts, readings = 2 * objectives, 3 * objectives  # of each one's loss, and of its progress towards a goal
    products = objectives * (objectives + 1) // 2 if combiner == "MinNorm" else 1
    return DOUBLE * (counts + readings + products)


def measured(combiner: str, strategy: str, ranks: int, scattered: bool = False) -> dict[str, Any]:
    """``bytes``, kind of collective to how many, and ``seconds``, of rank 0."""
    print(f"bytes: {combiner}, {strategy}, {ranks} rank(s)", file=sys.stderr, flush=True)
    request = json.dumps({"combiner": combiner, "strategy": strategy, "ranks": ranks, "scattered": scattered})
    environment = os.environ | {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": "0"}
    launcher = ["-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={ranks}", "-m"]
    command = [sys.executable, *launcher, "benchmarks.communication", "--child", request]
    done = subprocess.run(command, env=environment, cwd=RESULTS.parents[1], capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{request} failed:\n{done.stderr[-3000:]}")
    return json.loads(next(line for line in done.stdout.splitlines() if line.startswith("{")))


def main() -> None:
    parser = command_line(__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    if options.child:
        if (found := answer(options.child)) is not None:
            print(json.dumps(found), flush=True)
        return
    rounds = [[measured(*run) for run in RUNS] for _ in range(options.rounds)]
    counts, times = [], []
    for i, (combiner, strategy, ranks, scattered) in enumerate(RUNS):
        found, formula = rounds[0][i]["bytes"], predicted(combiner, strategy, ranks, scattered)
        name = f"{combiner}, ScatteredRows" if scattered else combiner
        for kind in sorted({*found, *formula}) or ["none"]:
            counts.append([name, strategy, ranks, kind, found.get(kind, 0), formula.get(kind, 0)])
        seconds = sorted(of_round[i]["seconds"] for of_round in rounds)
        times.append(
            [name, strategy, ranks, f"{statistics.median(seconds):.3f}", f"{seconds[0]:.3f} to {seconds[-1]:.3f}"]
        )
    text = (
        f"`python -m benchmarks.communication`: {TASK.objectives} objectives on {len(TASK.streams)} streams, given "
        f"reference, gloo. {machine()}.\n\n"
        + table(["combiner", "strategy", "ranks", "collective", "bytes per rank", "predicted"], counts)
        + f"\n\nSeconds per step with {TASK.batch_size} examples of {TASK.length} tokens per stream and rank, so that "
        f"communication weighs much, and one thread per rank; median and range of {options.rounds} runs.\n\n"
        + table(["combiner", "strategy", "ranks", "seconds", "range"], times)
    )
    report("communication", text, options)


if __name__ == "__main__":
    main()
