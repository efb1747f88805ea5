"""Measuring training loops side by side: turns in one process for time, a process each for memory.

A *contestant* is a function that runs a training loop, whoever's it is, and calls what it is given after every
optimizer step. To compare times, contestants run in threads of one process, of which one is awake at a time: each
takes a step and wakes the next one. The ratio of their times is taken round by round, so that other work on the
machine, which slows neighboring steps alike, cancels. Everything between two steps counts, loops and hooks included.
"""

import argparse
import gc
import json
import logging
import os
import platform
import re
import statistics
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

RESULTS = Path(__file__).with_name("RESULTS.md")
MIB = 2**20
Contestant = Callable[[Callable[[], None]], None]
"""Runs a training loop; calls its argument after every optimizer step."""


class StopLoopError(Exception):
    """Raised inside a contestant when every step that was asked for is measured."""


class Clock:
    """Time since it was made: wall clock and processor on the CPU, CUDA events on a GPU."""

    def __init__(self, device: torch.device) -> None:
        self.on_gpu = device.type == "cuda"
        if self.on_gpu:
            self._start = torch.cuda.Event(enable_timing=True)
            self._start.record()
        self._processor, self._wall = time.process_time(), time.perf_counter()

    def seconds(self) -> tuple[float, float]:
        """Elapsed time and the processor's time, in seconds; the GPU's own time where there is one."""
        if not self.on_gpu:
            return time.perf_counter() - self._wall, time.process_time() - self._processor
        end = torch.cuda.Event(enable_timing=True)
        end.record()
        end.synchronize()
        return self._start.elapsed_time(end) / 1e3, time.process_time() - self._processor


class Turns:
    """Lets contestants take their steps in turn.

    Args:
        contestants: name to contestant, in the order of the turns.
        rounds: steps that each of them takes.
        device: that of the training.
    """

    def __init__(self, contestants: Mapping[str, Contestant], rounds: int, device: torch.device) -> None:
        self.contestants = dict(contestants)
        self.rounds = rounds
        self.device = device
        self.laps: dict[str, list[tuple[float, float]]] = {name: [] for name in contestants}
        self._changed = threading.Condition()
        self._playing = list(contestants)
        self._turn = 0
        self._errors: list[BaseException] = []

    def run(self) -> dict[str, list[tuple[float, float]]]:
        """Name to the (elapsed, processor) seconds of each step.

        Raises:
            RuntimeError: if a contestant failed, or ended before its last round.
        """
        threads = [threading.Thread(target=self._play, args=(name,), daemon=True) for name in self.contestants]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if self._errors:
            raise RuntimeError("a contestant failed") from self._errors[0]
        return self.laps

    def _play(self, name: str) -> None:
        clock: Clock

        def step_done() -> None:
            nonlocal clock
            self.laps[name].append(clock.seconds())
            if len(self.laps[name]) == self.rounds:
                raise StopLoopError
            self._pass_on()
            self._wait_for_turn(name)
            clock = Clock(self.device)

        try:
            self._wait_for_turn(name)
            clock = Clock(self.device)
            self.contestants[name](step_done)
            raise RuntimeError(f"{name} ended after {len(self.laps[name])} of {self.rounds} steps")
        except StopLoopError:
            pass
        except BaseException as error:  # raised again by run, in the main thread
            self._errors.append(error)
        finally:
            self._leave(name)

    def _wait_for_turn(self, name: str) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self._errors or self._playing[self._turn] == name)
        if self._errors:
            raise StopLoopError

    def _pass_on(self) -> None:
        with self._changed:
            self._turn = (self._turn + 1) % len(self._playing)
            self._changed.notify_all()

    def _leave(self, name: str) -> None:
        with self._changed:
            # All leave in the last round, so the next one is where this one was.
            self._playing.remove(name)
            self._turn %= max(1, len(self._playing))
            self._changed.notify_all()


@dataclass(frozen=True)
class Comparison:
    """Paired step times of one contestant and its peer: medians and quartiles over the rounds.

    Attributes:
        seconds: of the contestant.
        peer_seconds: of the peer.
        ratio: elapsed time over the peer's, round by round.
        low: lower quartile of the ratio.
        high: upper quartile.
        processor: ratio of the processor's time.
    """

    seconds: float
    peer_seconds: float
    ratio: float
    low: float
    high: float
    processor: float


def compare(laps: Sequence[tuple[float, float]], peer: Sequence[tuple[float, float]]) -> Comparison:
    """Medians of the paired ratios of two contestants; at least one round."""
    elapsed = [(own[0], other[0]) for own, other in zip(laps, peer, strict=True)]
    ratios = sorted(own / other for own, other in elapsed)
    processor = [own[1] / other[1] for own, other in zip(laps, peer, strict=True)]
    return Comparison(
        seconds=statistics.median(own for own, _ in elapsed),
        peer_seconds=statistics.median(other for _, other in elapsed),
        ratio=statistics.median(ratios),
        low=ratios[len(ratios) // 4],
        high=ratios[-1 - len(ratios) // 4],
        processor=statistics.median(processor),
    )


class PeakMemory:
    """The most memory that training takes beyond what the process held when this was made.

    On a GPU it is what the allocator handed out; on a CPU the resident memory of the process, whose allocator gives
    freed tensors back at once when the process was started by :func:`in_fresh_process`. Linux only.
    """

    def __init__(self, device: torch.device) -> None:
        self.on_gpu = device.type == "cuda"
        gc.collect()
        if self.on_gpu:
            torch.cuda.reset_peak_memory_stats()
            self._before = torch.cuda.memory_allocated() / MIB
        else:
            _RESET.write_text("5")  # the peak starts anew at what is resident now
            self._before = _resident_peak_mib()

    def restart(self) -> None:
        """Forget the largest value so far."""
        gc.collect()
        if self.on_gpu:
            torch.cuda.reset_peak_memory_stats()
        else:
            _RESET.write_text("5")

    def mib(self) -> float:
        """MiB, the largest value so far."""
        peak = torch.cuda.max_memory_allocated() / MIB if self.on_gpu else _resident_peak_mib()
        return peak - self._before


_RESET = Path("/proc/self/clear_refs")


def _resident_peak_mib() -> float:
    found = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found is not None
    return int(found[1]) / 1024


def take_steps(contestant: Contestant, steps: int) -> None:
    """Run ``contestant`` by itself for so many steps."""
    taken = 0

    def step_done() -> None:
        nonlocal taken
        taken += 1
        if taken == steps:
            raise StopLoopError

    try:
        contestant(step_done)
    except StopLoopError:
        return
    raise RuntimeError(f"the loop ended after {taken} of {steps} steps")


def in_fresh_process(module: str, request: Mapping[str, object], threads: int = 1, exact_memory: bool = False) -> dict:
    """What ``module``, run with ``--child`` and the request as JSON, prints in its last line, read as JSON.

    Args:
        module: name of a module with a command line, such as ``benchmarks.step_cost``.
        request: what to measure.
        threads: of each operation. They do not spin while they wait, which would slow down a busy machine.
        exact_memory: every freed tensor goes back to the system at once, so that resident memory is memory in use.

    Raises:
        RuntimeError: if the process failed, with the end of what it wrote.
    """
    environment = os.environ | {"OMP_NUM_THREADS": str(threads), "OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": "0"}
    environment["PYTHONWARNINGS"] = "ignore"
    if exact_memory:
        environment |= {"MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "65536"}
    return in_child([sys.executable, "-m", module, "--child", json.dumps(request)], environment)


def in_child(command: Sequence[str], environment: Mapping[str, str] | None = None) -> dict:
    """What ``command``, run in the root of the repository, prints in its last line, read as JSON.

    Args:
        command: program and arguments.
        environment: its variables; by default those of this process.

    Raises:
        RuntimeError: if it failed, with the end of what it wrote.
    """
    done = subprocess.run(command, env=environment, cwd=RESULTS.parents[1], capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command[1:])} failed:\n{done.stderr[-3000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def command_line(description: str | None) -> argparse.ArgumentParser:
    """What the command line of every script has. Lightning's advice is silenced."""
    warnings.simplefilter("ignore")
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--print", action="store_true", help="write nothing")
    parser.add_argument("--child", type=json.loads, help=argparse.SUPPRESS)
    return parser


def report(section: str, text: str, options: argparse.Namespace) -> None:
    """Print the results, and publish them unless the command line says otherwise."""
    print(text)
    if not options.print:
        publish(section, text)


def best_device() -> torch.device:
    """The first GPU, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def machine() -> str:
    """Software and hardware in words."""
    import lightning
    import transformers

    system = (
        f"{os.cpu_count()} {platform.machine()} cores, "
        f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.0f} GiB"
    )
    if torch.cuda.is_available():
        system += f", {torch.cuda.device_count()} x {torch.cuda.get_device_name()}"
    return (
        f"Python {platform.python_version()}, torch {torch.__version__}, lightning {lightning.__version__}, "
        f"transformers {transformers.__version__}; {system}"
    )


def table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A Markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines)


def publish(section: str, text: str, path: Path = RESULTS) -> None:
    """Replace, in the Markdown file at ``path``, what stands between the marks of ``section``.

    Raises:
        ValueError: if the file has no such marks.
    """
    begin, end = f"<!-- begin: {section} -->", f"<!-- end: {section} -->"
    before, found, rest = path.read_text().partition(begin)
    _, found_end, after = rest.partition(end)
    if not found or not found_end:
        raise ValueError(f"{path.name} has no {begin} and {end}, between which the results would go.")
    new = path.with_suffix(".new")
    new.write_text(f"{before}{begin}\n{text.strip()}\n{end}{after}")
    new.replace(path)
