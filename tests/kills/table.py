"""Kills training runs by SIGKILL, resumes them with ``ckpt_path="last"``, and prints a table of what came of it.

``python -m tests.kills.table`` kills at random times and at every file operation of one save, link and removal (of the
many writes of a file: at the first, one in the middle and the last, with half of the data written), on 1 and 2 ranks.
A run that goes on must end with the weights of the uninterrupted run, bit for bit, and must not start further back
than at the last step whose checkpoint was complete.
"""

import argparse
import dataclasses
import os
import random
import shutil
import signal
import socket
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from tests import kit
from tests.kills import run
from tests.kills.run import Case

TIMEOUT_S = 120
SHM = "/dev/shm" if Path("/dev/shm").is_dir() else None
CASES = [
    Case("1 rank, link"),
    Case("1 rank, last.ckpt saved twice", saving={"save_last": True}),
    Case("1 rank, only last.ckpt, saved over", saving={"save_last": True, "save_top_k": 0}),
    Case("1 rank, all kept", saving={"save_top_k": -1}),
    Case("1 rank, no symbolic links", links=False),
    Case("1 rank, another file system", root=SHM),
    Case("1 rank, LoRA", method="lora"),
    Case("1 rank, dropout", dropout=0.2),
    Case("2 ranks, DDP, link", 2, "ddp"),
    Case("2 ranks, DDP, LoRA", 2, "ddp", "lora"),
    Case("2 ranks, DDP, dropout", 2, "ddp", dropout=0.2),
    Case("2 ranks, FSDP2, link", 2, "fsdp2", "graddiff"),
    Case(
        "2 ranks, FSDP2, only last.ckpt, saved over",
        2,
        "fsdp2",
        "graddiff",
        saving={"save_last": True, "save_top_k": 0},
    ),
    Case("2 ranks, FSDP2, no symbolic links", 2, "fsdp2", "graddiff", links=False),
    Case("2 ranks, FSDP2, another file system", 2, "fsdp2", "graddiff", root=SHM),
]


@dataclass(frozen=True)
class Kill:
    """An operation of a rank, or, if there is none, a time in seconds after the start of training."""

    rank: int = 0
    operation: int | None = None
    what: str = "random time"
    seconds: float = 0.0


@dataclass
class Outcome:
    """What came of one kill."""

    kill: Kill
    saved: int
    resumed: int
    same: bool
    error: str = ""

    @property
    def lost(self) -> bool:
        return self.resumed < self.saved or bool(self.error)


def forked(function: Callable[[], None], environment: dict[str, str], output: Path) -> int:
    """Run ``function`` in a new process, which has all imports already; its number."""
    child = os.fork()
    if child:
        return child
    try:
        os.environ |= environment
        stream = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        for descriptor in (1, 2):
            os.dup2(stream, descriptor)
        torch.set_num_threads(1)
        function()
        os._exit(0)
    except BaseException:
        traceback.print_exc()
        sys.stderr.flush()
        os._exit(1)


def launch(case: Case, folder: Path, model: str, resume: bool, kill: Kill | None) -> list[int]:
    """A process per rank."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    children = []
    for rank in range(case.ranks):
        environment = {"TOKENIZERS_PARALLELISM": "false"}
        if case.ranks > 1:
            environment |= {"WORLD_SIZE": str(case.ranks), "LOCAL_WORLD_SIZE": str(case.ranks), "RANK": str(rank)}
            environment |= {"LOCAL_RANK": str(rank), "GROUP_RANK": "0", "TORCHELASTIC_RUN_ID": "kills"}
            environment |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
        if kill is not None and kill.operation is not None and kill.rank == rank:
            environment[run.KILL_AT] = str(kill.operation)
        start = lambda rank=rank: run.train(case, rank, folder, model, resume)  # noqa: E731
        children.append(forked(start, environment, folder / f"output-{rank}.txt"))
    return children


def wait(children: Sequence[int], until: float | None = None) -> list[int]:
    """Exit statuses; when one has been killed, or ``until`` is past, the others are killed, as a cluster would do."""
    deadline, statuses = time.monotonic() + TIMEOUT_S, {}
    while len(statuses) < len(children):
        for child in set(children) - statuses.keys():
            found, status = os.waitpid(child, os.WNOHANG)
            if found:
                statuses[child] = os.waitstatus_to_exitcode(status)
        past = time.monotonic() > (deadline if until is None else until)
        if past or any(status != 0 for status in statuses.values()):
            for child in set(children) - statuses.keys():
                os.kill(child, signal.SIGKILL)
                statuses[child] = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        time.sleep(0.01)
    return [statuses[child] for child in children]


def wait_for(path: Path) -> None:
    """Until a file exists."""
    deadline = time.monotonic() + TIMEOUT_S
    while not path.exists():
        assert time.monotonic() < deadline, f"{path} was not written"
        time.sleep(0.005)


def last_step(folder: Path) -> int:
    """The last step that has started on rank 0: the checkpoints of those before are complete."""
    lines = (folder / "operations-0.txt").read_text().splitlines()
    return max((int(line.split()[1]) for line in lines if line.startswith("step ")), default=0)


def operations(folder: Path, rank: int) -> list[Kill]:
    """Those of the second save, of which the first has a checkpoint to fall back to."""
    found: list[tuple[int, str, str]] = []
    writes: Counter[str] = Counter()
    step = 0
    for line in (folder / f"operations-{rank}.txt").read_text().splitlines():
        first, *rest = line.split(maxsplit=2)
        if first == "step":
            step = int(rest[0])
        elif first != "start" and step == 1:
            found.append((int(first), rest[0], rest[1]))
            writes[rest[1]] += rest[0] == "write"
    seen: Counter[str] = Counter()
    kills = []
    for number, kind, path in found:
        if kind == "write":
            seen[path] += 1
            if seen[path] not in (1, (writes[path] + 1) // 2, writes[path]):
                continue
        kills.append(Kill(rank, number, f"{kind} {path}"))
    return kills


def attempt(case: Case, kill: Kill, reference: dict[str, torch.Tensor], root: Path, model: str) -> Outcome:
    """Kill a run, resume it and compare."""
    folder = Path(tempfile.mkdtemp(dir=root))
    children = launch(case, folder, model, False, kill)
    if kill.operation is None:
        wait_for(folder / "operations-0.txt")
        statuses = wait(children, time.monotonic() + kill.seconds)
    else:
        statuses = wait(children)
    if kill.operation is None and not any(statuses):  # it was faster than the uninterrupted run
        shutil.rmtree(folder)
        return attempt(case, dataclasses.replace(kill, seconds=kill.seconds / 2), reference, root, model)
    if statuses[kill.rank] != -signal.SIGKILL:
        return Outcome(kill, 0, -1, False, f"not killed: {statuses} {(folder / 'output-0.txt').read_text()[-1500:]}")
    saved = last_step(folder)
    (folder / "weights.pt").unlink(missing_ok=True)
    statuses = wait(launch(case, folder, model, True, None))
    resumed = folder / "operations-0-resumed.txt"
    starts = [line.split()[1] for line in resumed.read_text().splitlines() if line.startswith("start")]
    if any(statuses) or not (folder / "weights.pt").exists():
        return Outcome(kill, saved, -1, False, (folder / "output-0.txt").read_text()[-1500:])
    weights = torch.load(folder / "weights.pt", weights_only=True)
    same = all(torch.equal(weights[name], value) for name, value in reference.items())
    at = int(starts[0]) if starts else run.STEPS  # nothing was left to train
    shutil.rmtree(folder)
    return Outcome(kill, saved, at, same)


def uninterrupted(case: Case, root: Path, model: str) -> tuple[dict[str, torch.Tensor], list[Kill], float]:
    """Weights, all operations of a save, and seconds of a run that is left alone."""
    folder = Path(tempfile.mkdtemp(dir=root))
    children = launch(case, folder, model, False, None)
    wait_for(folder / "operations-0.txt")
    start = time.monotonic()
    statuses = wait(children)
    assert not any(statuses), (folder / "output-0.txt").read_text()[-3000:]
    kills = [kill for rank in range(case.ranks) for kill in operations(folder, rank)]
    return torch.load(folder / "weights.pt", weights_only=True), kills, time.monotonic() - start


def run_case(case: Case, at_random: int, at_operations: int | None, seed: int, model: str) -> list[Outcome]:
    """Kill at ``at_random`` times, and at all operations of a save or at that many, spread over them."""
    root = Path(tempfile.mkdtemp(dir=case.root, prefix="kills-"))
    try:
        reference, kills, seconds = uninterrupted(case, root, model)
        if at_operations is not None:
            stride = max(1, len(kills) // max(at_operations, 1))
            kills = kills[stride // 2 :: stride][:at_operations]
        draw = random.Random(f"{seed}{case.name}")
        kills += [Kill(seconds=draw.uniform(0.2, 0.8) * seconds) for _ in range(at_random)]
        return [attempt(case, kill, reference, root, model) for kill in kills]
    finally:
        shutil.rmtree(root)


def row(case: Case, outcomes: Sequence[Outcome]) -> str:
    """One line of the table."""
    at_operation = sum(outcome.kill.operation is not None for outcome in outcomes)
    same, lost = sum(o.same for o in outcomes), sum(o.lost for o in outcomes)
    cells = [case.name, at_operation, len(outcomes) - at_operation, f"{same} of {len(outcomes)}", lost]
    return "| " + " | ".join(map(str, cells)) + " |"


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table; the exit status is 1 if a checkpoint was lost or a resumed run differs."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--cases", nargs="*", help="words that names of cases contain; all cases by default")
    parser.add_argument("--random", type=int, default=3, help="kills at random times, per case")
    parser.add_argument("--operations", type=int, help="kills at file operations, per case; all by default")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    cases = [case for case in CASES if options.cases is None or any(word in case.name for word in options.cases)]
    print("| case | kills at file operations | at random times | resumed to the same weights | lost |", flush=True)
    print("| --- | --- | --- | --- | --- |", flush=True)
    kit.tokenizer()  # before processes are forked, which then have it
    total, failed = 0, []
    with tempfile.TemporaryDirectory() as model:
        kit.model().save_pretrained(model)
        for case in cases:
            outcomes = run_case(case, options.random, options.operations, options.seed, model)
            print(row(case, outcomes), flush=True)
            total += len(outcomes)
            failed += [(case, o) for o in outcomes if o.lost or not o.same]
    print(f"\n{total} kills, {len(failed)} failures.")
    for case, outcome in failed:
        print(f"{case.name}: {outcome}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
