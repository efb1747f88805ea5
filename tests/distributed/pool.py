"""Two gloo ranks that live as long as the test session: starting a process costs more than most cases."""

import os
import queue
import socket
import time
import traceback
from collections.abc import Callable
from typing import Any

import torch
import torch.multiprocessing as mp

WORLD_SIZE = 2
TIMEOUT_S = 300


class RankPool:
    """Runs a function on every rank and gives back the results in the order of the ranks."""

    def __init__(self) -> None:
        self._start()

    def _start(self) -> None:
        context = mp.get_context("spawn")
        port = _free_port()
        self._tasks = [context.SimpleQueue() for _ in range(WORLD_SIZE)]
        self._results = [context.Queue() for _ in range(WORLD_SIZE)]
        self._processes = [
            context.Process(target=_serve, args=(rank, port, self._tasks[rank], self._results[rank]), daemon=True)
            for rank in range(WORLD_SIZE)
        ]
        for process in self._processes:
            process.start()

    def run(self, function: Callable[..., Any], *args: Any) -> list[Any]:
        """``[function(*args) on rank 0, on rank 1]``; an exception on any rank is raised here with its traceback.

        Ranks that ended in an earlier call, which was an error, are started anew.
        """
        if not all(process.is_alive() for process in self._processes):
            self.close()
            self._start()
        for tasks in self._tasks:
            tasks.put((function, args))
        outcomes = [self._outcome(rank) for rank in range(len(self._results))]
        for rank, (failed, value) in enumerate(outcomes):
            if failed:
                raise AssertionError(f"rank {rank}:\n{value}")
        return [value for _, value in outcomes]

    def _outcome(self, rank: int) -> tuple[bool, Any]:
        """What ``rank`` answers; an error at once where some rank has ended, for the others may wait for it."""
        deadline = time.monotonic() + TIMEOUT_S
        while time.monotonic() < deadline:
            try:
                return self._results[rank].get(timeout=1.0)
            except queue.Empty:
                ended = {n: p.exitcode for n, p in enumerate(self._processes) if not p.is_alive()}
                if ended:
                    raise AssertionError(f"Ranks have ended, with the exit codes {ended}.") from None
        raise AssertionError(f"rank {rank} has not answered for {TIMEOUT_S} s.")

    def close(self) -> None:
        for tasks in self._tasks:
            tasks.put(None)
        for process in self._processes:
            process.join(timeout=10)
            process.kill()
            process.join()


def _serve(rank: int, port: int, tasks: Any, results: Any) -> None:
    # The variables of torchrun: Lightning then knows that the processes exist already.
    os.environ |= {
        "RANK": str(rank), "LOCAL_RANK": str(rank), "GROUP_RANK": "0", "TORCHELASTIC_RUN_ID": "tests",
        "WORLD_SIZE": str(WORLD_SIZE), "LOCAL_WORLD_SIZE": str(WORLD_SIZE),
        "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port),
    }  # fmt: skip
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", rank=rank, world_size=WORLD_SIZE)
    while (task := tasks.get()) is not None:
        function, args = task
        try:
            results.put((False, function(*args)))
        except BaseException:  # the parent raises it; this process goes on serving
            results.put((True, traceback.format_exc()))
    torch.distributed.destroy_process_group()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
