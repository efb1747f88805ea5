"""A run whose processes are killed goes on from its last checkpoint with exactly the examples that come next."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.distributed import killed_run as run
from tests.distributed.pool import _free_port
from unlearn_pl.data import step_indices

pytestmark = [pytest.mark.distributed, pytest.mark.slow]
ROOT = Path(__file__).parents[2]
MICRO_BATCHES = run.BATCH_SIZE // run.MICRO_BATCH_SIZE
STEPS = run.EPOCHS * -(-run.FORGET // run.BATCH_SIZE)


def start(folder: Path, world: int, *checkpoint: str) -> list[subprocess.Popen]:
    """A process per rank, as torchrun starts them."""
    shared = {"WORLD_SIZE": str(world), "LOCAL_WORLD_SIZE": str(world), "MASTER_ADDR": "127.0.0.1"}
    shared |= {"MASTER_PORT": str(_free_port()), "GROUP_RANK": "0", "TORCHELASTIC_RUN_ID": "killed"}
    processes = []
    for rank in range(world):
        ranked = shared | {"RANK": str(rank), "LOCAL_RANK": str(rank)} if world > 1 else {}
        command = [
            sys.executable,
            "-m",
            "tests.distributed.killed_run",
            str(folder),
            str(rank),
            str(world),
            *checkpoint,
        ]
        processes.append(subprocess.Popen(command, cwd=ROOT, env=os.environ | ranked))
    return processes


def kill_after(lines: int, folder: Path, processes: list[subprocess.Popen]) -> None:
    """Kills all processes once the first one has seen that many micro-batches."""
    file = folder / "seen-0.txt"
    try:
        while not file.exists() or len(file.read_text().splitlines()) < lines:
            assert all(process.poll() is None for process in processes), "the run ended before it was killed"
            time.sleep(0.005)
    finally:
        for process in processes:
            process.send_signal(signal.SIGKILL)
            process.wait()


def expected(rank: int, world: int, first: int, last: int) -> list[str]:
    """What a rank sees in the steps ``first`` to ``last``, from the definition of the steps alone."""
    size, per_rank = run.MICRO_BATCH_SIZE, run.BATCH_SIZE // world
    lines = []
    for step in range(first, last):
        shares = [
            step_indices(0, stream, step, run.BATCH_SIZE, count)[rank * per_rank : (rank + 1) * per_rank]
            for stream, count in (("forget", run.FORGET), ("retain", run.RETAIN))
        ]
        for start_ in range(0, per_rank, size):
            seen = (",".join(map(str, share[start_ : start_ + size])) for share in shares)
            lines.append(f"{step} {' '.join(seen)}")
    return lines


@pytest.mark.parametrize(("world", "micro_batches"), [(1, 10), (1, 21), (2, 7)])
def test_a_killed_run_goes_on_where_its_last_checkpoint_is(tmp_path, world, micro_batches):
    kill_after(micro_batches, tmp_path, start(tmp_path, world))
    checkpoints = sorted((tmp_path / "checkpoints").glob("step=*.ckpt"), key=lambda path: int(path.stem[5:]))
    at = int(checkpoints[-1].stem[5:])
    assert 0 < at < STEPS

    processes = start(tmp_path, world, str(checkpoints[-1]))
    assert [process.wait() for process in processes] == [0] * world

    for rank in range(world):
        before, after = ((tmp_path / f"seen-{rank}{name}.txt").read_text().splitlines() for name in ("", "-resumed"))
        # The last line may be half written.
        assert before[:-1] == expected(rank, world, 0, STEPS)[: len(before) - 1]
        assert len(before) >= at * MICRO_BATCHES // world
        assert after == expected(rank, world, at, STEPS)
