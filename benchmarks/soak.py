"""A week in an hour: a long run in resumed parts, many rows to forget, many requests, and a long audit trail.

    python -m benchmarks.soak                     # 20,000 steps, 100,000 rows, 1,000 requests: hours on two busy cores
    python -m benchmarks.soak --steps 300 --every 100 --rows 5000 --requests 30 --trail 4000   # a few minutes
    python -m benchmarks.soak --print             # writes nothing

Checks that memory does not grow, that files are bounded, that the resumed run ends with the weights of the one that was
not interrupted, and that time grows no faster than the number of rows, of requests and of lines. Ends with status 1 if
one of them does not hold. Writes its section of ``RESULTS.md``.
"""

import argparse
import json
import statistics
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from benchmarks.harness import command_line, in_child, machine, report, table
from benchmarks.soak_memory import fitted_growth, slope
from benchmarks.soak_run import LOG_EVERY, RANKS, Part
from benchmarks.tiny_run import differing

GROWTH_MIB = 8.0
"""What counts as flat: so much over the later half of a run."""
GROWTH_PER_REQUEST_MIB = 0.5
SLOWER_PER_REQUEST_MS = 10.0
"""The rows of earlier requests are tokenized, to be left out of what is retained."""
BYTES_PER_LOGGED_STEP = 2048
TIMES_LINEAR = 2.0
"""Time for four times as much, over four times the time; what is linear has about 1."""


@dataclass(frozen=True)
class Check:
    """Something that has to hold.

    Attributes:
        what: in words.
        measured: with unit.
        limit: with unit.
        holds: whether it does.
    """

    what: str
    measured: str
    limit: str
    holds: bool

    def cells(self) -> list[str]:
        """Those of the table."""
        return [self.what, self.measured, self.limit, "yes" if self.holds else "**no**"]


def check_run(steps: int, every: int, folder: Path) -> list[Check]:
    """Run whole and in parts; memory, files, and weights at the end."""
    whole, parts = folder / "whole", folder / "parts"
    Part(str(whole), steps, every, steps, resumed=False).start()
    counts, sizes = [], []
    for until in range(every, steps + 1, every):
        Part(str(parts), steps, every, until, resumed=until > every).start()
        files = list((parts / "checkpoints").iterdir())
        counts.append(len(files))
        sizes.append(sum(file.stat().st_size for file in files))
    saved = [torch.load(path / "weights.pt", weights_only=True) for path in (whole, parts)]
    wrong = differing(*saved)
    logged = sum(file.stat().st_size for file in (whole / "logs").rglob("*") if file.is_file())
    logged_steps = steps // LOG_EVERY + steps // every
    return [
        *memory_checks(whole),
        Check("checkpoint files, at most", f"{max(counts)}", "2", max(counts) <= 2),
        Check(
            "checkpoint bytes, last part / first part",
            f"{sizes[-1] / sizes[0]:.2f}",
            "1.1",
            sizes[-1] <= 1.1 * sizes[0],
        ),
        Check(
            "log, bytes per logged step",
            f"{logged / logged_steps:.0f}",
            f"{BYTES_PER_LOGGED_STEP}",
            logged <= BYTES_PER_LOGGED_STEP * logged_steps,
        ),
        Check(
            f"weights that differ after {len(counts) - 1} resumes",
            f"{len(wrong)} of {len(saved[0])}",
            "0",
            not wrong and len(counts) > 1,
        ),
    ]


def memory_checks(folder: Path) -> list[Check]:
    """Growth of every rank's resident memory over the later half of the run."""
    checks = []
    for rank in range(RANKS):
        samples = [json.loads(line) for line in (folder / f"memory-{rank}.jsonl").read_text().splitlines()]
        growth = fitted_growth(samples)
        what = f"rank {rank}: growth over the later half of the steps, of {samples[-1][1]:.0f} MiB"
        checks.append(Check(what, f"{growth:+.1f} MiB", f"{GROWTH_MIB:.0f} MiB", growth <= GROWTH_MIB))
    return checks


def check_requests(found: dict) -> list[Check]:
    """Time and memory by the number of rows, requests and lines."""
    few, many = found["rows"]
    short, long = found["trails"]
    requests = found["requests"]
    later = len(requests) - len(requests) // 2 - 1  # from the first to the last request of the later half
    memory = fitted_growth([(each["request"], each["mib"]) for each in requests]) / later
    slower = 1e3 * slope([(each["request"], each["seconds"]) for each in requests])
    seconds = statistics.median(each["seconds"] for each in requests)
    return [
        _linear(f"{many['rows']:.0f} rows ready", few["seconds"], many["seconds"], "s", many["rows"] / few["rows"]),
        Check(
            f"{many['rows']:.0f} rows, MiB per 1,000",
            f"{1e3 * many['mib'] / many['rows']:.2f}",
            "10",
            1e3 * many["mib"] / many["rows"] <= 10,
        ),
        _linear("trail verified", short["milliseconds"], long["milliseconds"], "ms", long["lines"] / short["lines"]),
        Check(
            f"{len(requests)} requests, {seconds:.2f} s of CPU time each (median): longer by, for every earlier one",
            f"{slower:+.1f} ms",
            f"{SLOWER_PER_REQUEST_MS:.0f} ms",
            slower <= SLOWER_PER_REQUEST_MS,
        ),
        Check(
            f"memory held: growth per request over the later half, of {requests[-1]['mib']:.0f} MiB",
            f"{memory:+.2f} MiB",
            f"{GROWTH_PER_REQUEST_MIB} MiB",
            memory <= GROWTH_PER_REQUEST_MIB,
        ),
    ]


def _linear(what: str, short: float, long: float, unit: str, times: float) -> Check:
    limit = TIMES_LINEAR * times
    title = f"{what}: CPU time for {times:.0f} times as many ({long:.3g} {unit}), over the time for a {times:.0f}th"
    return Check(title, f"{long / short:.1f}", f"{limit:.0f}", long <= limit * short)


def soak(options: argparse.Namespace) -> list[Check]:
    """Everything."""
    with tempfile.TemporaryDirectory() as name:
        checks = check_run(options.steps, options.every, Path(name))
    request = {"rows": options.rows, "requests": options.requests, "trail": options.trail}
    return checks + check_requests(in_child([sys.executable, "-m", "benchmarks.soak_requests", json.dumps(request)]))


def main(arguments: Sequence[str] | None = None) -> int:
    """0 if everything holds."""
    parser = command_line(__doc__)
    parser.add_argument("--steps", type=int, default=20_000)
    parser.add_argument("--every", type=int, default=2_000, help="steps between checkpoints, validations and resumes")
    parser.add_argument("--rows", type=int, default=100_000, help="rows to forget")
    parser.add_argument("--requests", type=int, default=1_000)
    parser.add_argument("--trail", type=int, default=2_000, help="lines of the longer trail")
    options = parser.parse_args(arguments)
    if options.steps % options.every or options.steps < 2 * options.every:
        parser.error(f"--steps {options.steps} is no multiple of --every {options.every} from twice of it on.")
    checks = soak(options)
    sizes = {name: getattr(options, name) for name in ("steps", "every", "rows", "requests", "trail")}
    command = " ".join(["python -m benchmarks.soak", *(f"--{name} {size}" for name, size in sizes.items())])
    rows = [check.cells() for check in checks]
    text = f"`{command}`: {machine()}.\n\n" + table(["what", "measured", "limit", "holds"], rows)
    report("soak", text, options)
    return int(not all(check.holds for check in checks))


if __name__ == "__main__":
    sys.exit(main())
