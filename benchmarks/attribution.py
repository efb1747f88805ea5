"""How long it takes to mark the largest of many scores, and how much memory: streaming selection against a sort.

    python benchmarks/attribution.py --millions 135

Random weights and gradients stand for a model's, in tensors of different sizes. Every way is a process of its own, on
one thread. Memory is the peak that the process reaches, less what it held when the weights and gradients were there.
"""

import argparse
import os
import resource
import subprocess
import sys
import time

import torch
from torch import Tensor

from unlearn_pl.attribution import WAGLE, Attribution, Magnitude, Measured


def parameters(millions: float) -> list[Measured]:
    """An embedding that has a fifth of the numbers, and equal matrices."""
    generator = torch.Generator().manual_seed(0)
    total = int(millions * 1e6)
    sizes = [total // 5] + [total // 50] * 40
    made = []
    for i, size in enumerate(sizes):
        shape = (size // 64, 64)
        draws = [torch.randn(shape, generator=generator) for _ in range(3)]
        made.append(Measured(f"layers.{i}.weight", draws[0], {"forget": draws[1], "retain": draws[2]}))
    return made


def by_sorting(attribution: Attribution, given: list[Measured], keep: float) -> list[Tensor]:
    """All scores together, sorted: what published code does, with one sort in place of two."""
    scores = torch.cat([attribution.score(parameter).abs().flatten() for parameter in given])
    marks = torch.zeros(len(scores), dtype=torch.bool)
    marks[scores.argsort(descending=True)[: round(keep * len(scores))]] = True
    return list(marks.split([parameter.weight.numel() for parameter in given]))


def measure(way: str, millions: float, keep: float) -> None:
    """Print a row of the table."""
    torch.set_num_threads(1)
    given = parameters(millions)
    numbers = sum(parameter.weight.numel() for parameter in given)
    attribution = {"magnitude": Magnitude(keep), "wagle": WAGLE(keep)}[way.split()[0]]
    resident, reached = resident_bytes(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    start = time.perf_counter(), time.process_time()
    attribution.prepare(given, False)
    prepared = time.process_time()
    marks = by_sorting(attribution, given, keep) if way.endswith("sort") else attribution.mark(given)
    end = time.perf_counter(), time.process_time()
    # The peak of the set-up is counted, too, if it was higher: an upper bound.
    peak = max(reached, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024) - resident
    copy = 4 * numbers
    kept = sum(int(part.sum()) for part in marks)
    seconds = f"{prepared - start[1]:.1f} s | {end[1] - prepared:.1f} s | {end[0] - start[0]:.1f} s"
    print(f"| {way} | {seconds} | {peak / 1e6:.0f} MB | {peak / copy:.2f} | {kept} |")


def resident_bytes() -> int:
    """Memory that the process holds now."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--millions", type=float, default=135, help="millions of weights")
    parser.add_argument("--keep", type=float, default=0.05)
    parser.add_argument("--way", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.way:
        measure(options.way, options.millions, options.keep)
        return
    print(f"{options.millions:g} million weights, keep {options.keep:g}; a copy of the weights is fp32.")
    print("Seconds of processor time for gamma and for the marks, and of wall time for both.")
    print("| way | gamma | marks | wall | extra memory at most | in copies of the weights | kept |\n|" + "---|" * 7)
    for way in ("magnitude", "magnitude by sort", "wagle", "wagle by sort"):
        command = [sys.executable, __file__, "--millions", str(options.millions), "--keep", str(options.keep)]
        subprocess.run([*command, "--way", way], check=True)


if __name__ == "__main__":
    main()
