"""Mutated inputs for every reader of files: ``python -m tests.fuzz.run [--inputs 2000] [--only NAME]``.

Every reader runs in a process of its own with at most 1 GB more memory than at its start. The exit code is 1 if an
input was read as something else in a format with a digest, raised an undocumented error, or took more than 5 seconds.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.fuzz.readers import readers
from tests.fuzz.trial import OUTCOMES, memory_limit, trials

MEMORY = 1 << 30
LONGEST = 1800
"""Seconds after which a reader that does not come back is stopped."""
HEAD = ["reader", "inputs", *OUTCOMES, "slowest", "memory"]


def main() -> int:
    """Try all readers and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--inputs", type=int, default=2000, help="mutated inputs for each reader")
    parser.add_argument("--seed", type=int, default=0, help="seed of the mutations")
    parser.add_argument("--only", action="append", help="name of a reader; may be given several times")
    parser.add_argument("--here", action="store_true", help="in this process, with the result as JSON")
    given = parser.parse_args()
    if given.here:
        sys.stdout.write(json.dumps(_tried(given.only[0], given.inputs, given.seed)) + "\n")
        return 0
    failures: list[str] = []
    for line in (HEAD, ["---"] * len(HEAD)):
        sys.stdout.write(_line(line))
    for name in given.only or readers():
        row, failed = _in_process(name, given.inputs, given.seed)
        sys.stdout.write(_line(row))
        sys.stdout.flush()
        failures += [f"{name}: {line}\n" for line in failed]
    sys.stderr.writelines(failures)
    return 1 if failures else 0


def _in_process(name: str, inputs: int, seed: int) -> tuple[list[str], list[str]]:
    command = [sys.executable, "-m", "tests.fuzz.run", "--here", "--only", name]
    try:
        done = subprocess.run(
            [*command, "--inputs", str(inputs), "--seed", str(seed)],
            capture_output=True,
            text=True,
            timeout=LONGEST,
            env={**os.environ, "HF_HUB_OFFLINE": "1"},
        )
    except subprocess.TimeoutExpired:
        return [name, *["-"] * (len(HEAD) - 1)], [f"did not come back within {LONGEST} s"]
    if done.returncode:
        return [name, *["-"] * (len(HEAD) - 1)], [f"exit code {done.returncode}: {done.stderr[-1000:]}"]
    row, failures = json.loads(done.stdout.splitlines()[-1])
    return row, failures


def _tried(name: str, inputs: int, seed: int) -> tuple[list[str], list[str]]:
    reader = readers()[name]
    with tempfile.TemporaryDirectory() as folder:
        for part in ("valid", "mutated"):
            Path(folder, part).mkdir()
        trials(reader, Path(folder, "valid"), 1)  # imports what the reader needs
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        with memory_limit(MEMORY):
            found = trials(reader, Path(folder, "mutated"), inputs, seed)
    more = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    counts = [str(found.counts[outcome]) for outcome in OUTCOMES]
    row = [name, str(sum(found.counts.values())), *counts, f"{found.slowest:.2f} s", f"+{more:.0f} MB"]
    return row, found.failures


def _line(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |\n"


if __name__ == "__main__":
    sys.exit(main())
