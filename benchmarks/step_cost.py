"""Cost of an optimizer step, side by side with a weighted sum written in plain PyTorch.

Time: each case runs in a process of its own, where every step of the module is followed by a plain step on the same
batch. The ratio of the two is taken step by step, so that other work on the machine, which slows both, cancels.
Memory: each case runs alone in a fresh process, and its peak is compared with what the process needed before.

Usage: ``python benchmarks/step_cost.py [--steps 10] [--batch-size 4]``; prints a Markdown table.
"""

import argparse
import json
import logging
import os
import platform
import resource
import statistics
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from functools import partial

# Before torch is imported: one thread, which does not spin while it waits.
os.environ |= {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": "0"}

import lightning.pytorch as pl
import torch
from torch import nn
from transformers import LlamaForCausalLM

from unlearn_pl.combiners import MinNorm
from unlearn_pl.data import SyntheticAuthorsDataModule
from unlearn_pl.models import tiny_llama
from unlearn_pl.modules import MOLLM, GradDiff, UnlearningModule
from unlearn_pl.types import UnlearnBatch

WARM_UP_STEPS = 3
MEMORY_STEPS = 3
OPTIMIZER = partial(torch.optim.AdamW, lr=1e-5)

PLAIN = "plain"
MODULES: dict[str, Callable[[nn.Module], UnlearningModule]] = {
    "graddiff": lambda model: GradDiff(model, optimizer=OPTIMIZER),
    "min_norm": lambda model: GradDiff(model, combiner=MinNorm(), optimizer=OPTIMIZER),
    "mollm": lambda model: MOLLM(model, optimizer=OPTIMIZER),
}
LABELS = {
    PLAIN: "plain PyTorch, weighted sum of 2 losses",
    "graddiff": "GradDiff (K = 2, Scalarization)",
    "min_norm": "GradDiff with MinNorm (K = 2, a gradient each)",
    "mollm": "MOLLM (K = 3, a gradient each, frozen reference)",
}


def make_model() -> LlamaForCausalLM:
    """11 million weights."""
    return tiny_llama(4096, hidden_size=320, num_layers=6, num_heads=5)


class PlainStep:
    """``NLL(retain) - NLL(forget)``, one backward pass, clipping, AdamW."""

    def __init__(self) -> None:
        self.model = make_model()
        self.optimizer = OPTIMIZER(self.model.parameters())

    def __call__(self, batch: UnlearnBatch) -> None:
        loss = self.nll(batch, "retain") - self.nll(batch, "forget")
        loss.backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        self.optimizer.zero_grad()

    def nll(self, batch: UnlearnBatch, stream: str) -> torch.Tensor:
        tokens = batch[stream]
        logits = self.model(input_ids=tokens["input_ids"], attention_mask=tokens["attention_mask"]).logits
        return nn.functional.cross_entropy(logits[:, :-1].flatten(0, 1), tokens["labels"][:, 1:].flatten())


class Stopwatch(pl.Callback):
    """Times every step of the module, and a plain step on the same batch right after it."""

    def __init__(self) -> None:
        self.plain = PlainStep()
        self.seconds: list[tuple[float, float]] = []

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: UnlearnBatch, batch_idx: int
    ) -> None:
        self.start = time.perf_counter()

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: object, batch: UnlearnBatch, batch_idx: int
    ) -> None:
        middle = time.perf_counter()
        self.plain(batch)
        self.seconds.append((middle - self.start, time.perf_counter() - middle))


def make_data(batch_size: int) -> SyntheticAuthorsDataModule:
    return SyntheticAuthorsDataModule(batch_size=batch_size, micro_batch_size=batch_size)


def fit(case: str, batch_size: int, steps: int, callbacks: list[pl.Callback]) -> None:
    trainer = pl.Trainer(
        accelerator="cpu",
        devices=1,
        max_steps=steps,
        limit_val_batches=0,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=callbacks,
    )
    trainer.fit(MODULES[case](make_model()), make_data(batch_size))


def measure_time(case: str, batch_size: int, steps: int) -> dict[str, float]:
    watch = Stopwatch()
    fit(case, batch_size, WARM_UP_STEPS + steps, [watch])
    measured = watch.seconds[WARM_UP_STEPS:]
    ratios = sorted(module / plain for module, plain in measured)
    return {
        "seconds": statistics.median(module for module, _ in measured),
        "plain_seconds": statistics.median(plain for _, plain in measured),
        "ratio": statistics.median(ratios),
        "ratio_low": ratios[len(ratios) // 4],
        "ratio_high": ratios[-1 - len(ratios) // 4],
    }


def measure_memory(case: str, batch_size: int) -> dict[str, float]:
    before = peak_mib()
    if case == PLAIN:
        step = PlainStep()
        for batch in plain_batches(batch_size):
            step(batch)
    else:
        fit(case, batch_size, MEMORY_STEPS, [])
    return {"mib": peak_mib() - before}


def plain_batches(batch_size: int) -> Iterator[UnlearnBatch]:
    data = make_data(batch_size)
    data.setup("fit")
    loader = iter(data.train_dataloader())
    for _ in range(MEMORY_STEPS):
        batch, _, _ = next(loader)
        yield batch


def peak_mib() -> float:
    """Largest resident memory of this process so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024  # kilobytes on Linux


def in_new_process(case: str, what: str, options: argparse.Namespace) -> dict[str, float]:
    command = [sys.executable, __file__, "--case", case, "--measure", what]
    command += ["--steps", str(options.steps), "--batch-size", str(options.batch_size)]
    print(f"measuring {what} of {case} ...", file=sys.stderr, flush=True)
    output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    return json.loads(output.splitlines()[-1])


def print_table(options: argparse.Namespace) -> None:
    times = {case: in_new_process(case, "time", options) for case in MODULES}
    memory = {case: in_new_process(case, "memory", options)["mib"] for case in LABELS}
    weights = sum(p.numel() for p in make_model().parameters())

    print(f"\n{weights / 1e6:.1f} M weights (fp32), AdamW, {options.batch_size} examples per stream and step,")
    print(f"{options.steps} paired steps after {WARM_UP_STEPS} of warm-up; {machine()}\n")
    print("| step | time / plain (quartiles) | ms, plain ms | peak memory, MiB | in copies of the weights |")
    print("|---|---|---|---|---|")
    for case, label in LABELS.items():
        copies = memory[case] * 2**20 / (4 * weights)
        print(f"| {label} | {time_cells(times.get(case))} | {memory[case]:.0f} | {copies:.1f} |")


def time_cells(result: dict[str, float] | None) -> str:
    if result is None:
        return "1 | -"
    milliseconds = f"{1000 * result['seconds']:.0f}, {1000 * result['plain_seconds']:.0f}"
    return f"{result['ratio']:.2f} ({result['ratio_low']:.2f} to {result['ratio_high']:.2f}) | {milliseconds}"


def machine() -> str:
    return (
        f"Python {platform.python_version()}, torch {torch.__version__}, lightning {pl.__version__}, "
        f"{platform.machine()} with {os.cpu_count()} cores, 1 thread."
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--batch-size", type=int, default=4)
    parser.add_argument("--case", choices=LABELS, help=argparse.SUPPRESS)
    parser.add_argument("--measure", choices=["time", "memory"], help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")  # Lightning's advice on workers and logging
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    if options.case is None:
        print_table(options)
    elif options.measure == "time":
        print(json.dumps(measure_time(options.case, options.batch_size, options.steps)))
    else:
        print(json.dumps(measure_memory(options.case, options.batch_size)))


if __name__ == "__main__":
    main()
