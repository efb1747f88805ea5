"""Mutated inputs for every reader of files: ``python -m tests.fuzz.run [--inputs 2000] [--only NAME]``.

Every reader runs in a process of its own with at most 1 GB more memory than at its start. The exit code is 1 if an input
was read as something else in a format with a digest, raised an undocumented error, or took more than 5 seconds.
"""

import argparse
import multiprocessing
import os
import resource
import sys
import tempfile
from multiprocessing.connection import Connection
from pathlib import Path

from tests.fuzz.readers import readers
from tests.fuzz.trial import OUTCOMES, Trials, memory_limit, trials

MEMORY = 1 << 30
LONGEST = 3600
"""Seconds after which a reader that does not come back is stopped."""


def main() -> int:
    """Try all readers and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--inputs", type=int, default=2000, help="mutated inputs for each reader")
    parser.add_argument("--seed", type=int, default=0, help="seed of the mutations")
    parser.add_argument("--only", action="append", help="name of a reader; may be given several times")
    given = parser.parse_args()
    rows, failures = [], []
    for name in given.only or readers():
        found, memory = _in_process(name, given.inputs, given.seed)
        failures += [f"{name}: {line}" for line in found.failures]
        counts = [str(found.counts[outcome]) for outcome in OUTCOMES]
        row = [name, str(sum(found.counts.values())), *counts, f"{found.slowest:.2f} s", memory]
        rows.append(row)
        print(" | ".join(row), file=sys.stderr, flush=True)
    print(_table(["reader", "inputs", *OUTCOMES, "slowest", "memory"], rows))
    print(*failures, sep="\n", file=sys.stderr)
    return 1 if failures else 0


def _in_process(name: str, inputs: int, seed: int) -> tuple[Trials, str]:
    context = multiprocessing.get_context("spawn")
    receiving, sending = context.Pipe(duplex=False)
    process = context.Process(target=_try, args=(name, inputs, seed, sending))
    process.start()
    sending.close()
    try:
        if receiving.poll(LONGEST):
            return receiving.recv()
        reason = f"did not come back within {LONGEST} s"
    except EOFError:
        process.join()
        reason = f"ended with exit code {process.exitcode}"
    finally:
        process.kill()
        process.join()
    return Trials(failures=[f"the process {reason}"]), "-"


def _try(name: str, inputs: int, seed: int, sending: Connection) -> None:
    reader = readers()[name]
    with tempfile.TemporaryDirectory() as folder:
        for part in ("valid", "mutated"):
            Path(folder, part).mkdir()
        trials(reader, Path(folder, "valid"), 1)  # imports what the reader needs
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        with memory_limit(MEMORY):
            found = trials(reader, Path(folder, "mutated"), inputs, seed)
    more = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    sending.send((found, f"+{more:.0f} MB"))


def _table(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


if __name__ == "__main__":
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    sys.exit(main())
