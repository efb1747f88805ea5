"""Everything that only a GPU can show, in at most six minutes, on a machine with one GPU and no network.

    python -m benchmarks.gpu_check                           # Llama of 1 B random weights in bf16; writes RESULTS.md
    python -m benchmarks.gpu_check --print                   # writes nothing
    python -m benchmarks.gpu_check --only resume             # one section
    python -m benchmarks.gpu_check --packages FOLDER         # imports packages from FOLDER, too
    python -m benchmarks.gpu_check --device cpu --size tiny  # does the script work? Writes nothing

The sections run one after another in a process of their own. One that fails, or takes longer than its time, is reported
so, and the others go on in a new process. What is measured: ``gpu_check_sections.py``.
"""

import argparse
import contextlib
import json
import os
import queue
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from benchmarks.gpu_check_sections import Setting

TOTAL_SECONDS = 350.0
START_SECONDS = 60.0
"""Until the first section begins: imports from a cold disk."""
REPORT = "gpu_check: "
"""Begins the lines of the worker that are results."""
SECTION = "gpu check"


@dataclass(frozen=True)
class Outcome:
    """What became of a section.

    Attributes:
        status: ``done``, ``skipped``, ``failed`` or ``not run``, and why.
        text: Markdown; empty unless it is done.
        seconds: how long it took.
    """

    status: str
    text: str = ""
    seconds: float = 0.0


class Worker:
    """A process that runs sections one after another, and prints a line when one is over."""

    def __init__(self, command: Sequence[str], environment: Mapping[str, str]) -> None:
        self._errors = tempfile.TemporaryFile("w+", errors="replace")  # noqa: SIM115  closed by stop
        self._process = subprocess.Popen(
            command,
            env=dict(environment),
            cwd=Path(__file__).parents[1],
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            start_new_session=True,
        )
        assert self._process.stdout is not None
        self._lines: queue.Queue[str | None] = queue.Queue()
        self._reader = threading.Thread(target=self._read, args=(self._process.stdout,), daemon=True)
        self._reader.start()

    def _read(self, stream: TextIO) -> None:
        for line in stream:
            if line.startswith(REPORT):
                self._lines.put(line.removeprefix(REPORT))
        self._lines.put(None)

    def next_line(self, seconds: float) -> str | None:
        """The next line within so many seconds; None if the process has ended.

        Raises:
            TimeoutError: if there is none.
        """
        try:
            return self._lines.get(timeout=max(0.0, seconds))
        except queue.Empty:
            raise TimeoutError from None

    def last_words(self) -> str:
        """The last line of the error output."""
        self._errors.seek(0)
        lines = self._errors.read().split("\n")
        return next((line.strip() for line in reversed(lines) if line.strip()), "no message")

    def stop(self) -> None:
        """Kill the process and all that it started."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._reader.join()
        assert self._process.stdout is not None
        self._process.stdout.close()
        self._errors.close()


def supervise(
    start: Callable[[Sequence[str]], Worker], budgets: Mapping[str, float], total: float, start_seconds: float
) -> dict[str, Outcome]:
    """Name of each section to what became of it.

    Args:
        start: makes a worker of the names of the sections that it is to run, in their order.
        budgets: name to most seconds.
        total: most seconds of all of them.
        start_seconds: what the first section of a worker may take in addition.
    """
    ends, left, found = time.monotonic() + total, list(budgets), {}
    while left and time.monotonic() < ends:
        worker = start(left)
        try:
            extra = start_seconds
            for name in list(left):
                begin = time.monotonic()
                outcome = _wait(worker, min(budgets[name] + extra, ends - begin))
                extra = 0.0
                found[name] = replace(outcome, seconds=outcome.seconds or time.monotonic() - begin)
                left.remove(name)
                if outcome.status.startswith("failed: stopped"):
                    break
        finally:
            worker.stop()
    return found | {name: Outcome("not run: no time was left") for name in left}


def _wait(worker: Worker, seconds: float) -> Outcome:
    try:
        line = worker.next_line(seconds)
    except TimeoutError:
        return Outcome(f"failed: stopped after {seconds:.0f} s")
    if line is None:
        return Outcome(f"failed: stopped by itself, {worker.last_words()[:300]}")
    return Outcome(**json.loads(line))


def work(names: Sequence[str], setting: Mapping[str, object]) -> None:
    """Run the sections, and print a line after each: what the worker does."""
    from benchmarks.gpu_check_sections import Setting

    for name in names:
        outcome = run_section(name, Setting(**setting))  # type: ignore[arg-type]
        print(REPORT + json.dumps(asdict(outcome)), flush=True)


def run_section(name: str, setting: "Setting") -> Outcome:
    """Run one section in this process; whatever goes wrong is an outcome."""
    from benchmarks.gpu_check_sections import SECTIONS, SkippedError, WrongError

    begin = time.monotonic()
    try:
        text, status = SECTIONS[name].measure(setting), "done"
    except SkippedError as reason:
        text, status = "", f"skipped: {reason}"
    except WrongError as error:
        text, status = error.text, f"failed: {error}"
    except Exception as error:  # a failure is reported in the table, and the others go on
        cause = error.__cause__ or error
        text, status = "", f"failed: {type(cause).__name__}: {str(cause).strip()[:300]}"
    return Outcome(status, text, time.monotonic() - begin)


def markdown(command: str, about: str, outcomes: Mapping[str, Outcome]) -> str:
    """The section of ``RESULTS.md``."""
    from benchmarks.gpu_check_sections import SECTIONS
    from benchmarks.harness import table

    rows = [
        [SECTIONS[name].title, f"{outcome.seconds:.0f}", " ".join(outcome.status.replace("|", "/").split())]
        for name, outcome in outcomes.items()
    ]
    texts = [f"**{SECTIONS[name].title}**\n\n{outcome.text}" for name, outcome in outcomes.items() if outcome.text]
    return "\n\n".join([f"`{command}`: {about}", table(["section", "seconds", "outcome"], rows), *texts])


def environment_of(packages: Path | None) -> dict[str, str]:
    """The variables of the worker: one GPU, deterministic matrix products, nothing from the network."""
    variables = os.environ | {"HF_HUB_OFFLINE": "1", "CUBLAS_WORKSPACE_CONFIG": ":4096:8", "PYTHONWARNINGS": "ignore"}
    visible = os.environ.get("CUDA_VISIBLE_DEVICES", "0")
    variables["CUDA_VISIBLE_DEVICES"] = visible.split(",")[0]
    if packages is not None:
        variables["PYTHONPATH"] = os.pathsep.join(filter(None, [str(packages), os.environ.get("PYTHONPATH")]))
    return variables


def main(arguments: Sequence[str] | None = None) -> int:
    """0 if no section failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--print", action="store_true", help="write nothing")
    parser.add_argument("--child", type=json.loads, help=argparse.SUPPRESS)
    parser.add_argument("--device", default="cuda", choices=["cuda", "cpu"])
    parser.add_argument("--size", default="1b", choices=["1b", "135m", "tiny"])
    parser.add_argument("--only", nargs="+", help="names of sections: step-cost, memory, synchronizations, ...")
    parser.add_argument("--packages", type=Path, help="a folder with packages that are not installed")
    options = parser.parse_args(arguments)
    if options.packages is not None:
        sys.path.insert(0, str(options.packages.resolve()))
    if options.child:
        work(**options.child)
        return 0
    return check(options, list(sys.argv[1:] if arguments is None else arguments))


def check(options: argparse.Namespace, arguments: Sequence[str]) -> int:
    """Run the sections that are asked for, print what they say, and publish it if it is of a GPU."""
    import torch

    from benchmarks.gpu_check_sections import SECTIONS, SIZES
    from benchmarks.harness import machine, publish

    if options.device == "cuda" and not torch.cuda.is_available():
        print("gpu_check needs a GPU, and PyTorch finds none; --device cpu --size tiny tries the script without one.")
        return 2
    unknown = set(options.only or ()) - set(SECTIONS)
    if unknown:
        print(f"--only {' '.join(sorted(unknown))}: there is no such section; accepted: {', '.join(SECTIONS)}.")
        return 2
    setting = replace(SIZES[options.size], device=options.device)
    variables = environment_of(options.packages and options.packages.resolve())

    def start(names: Sequence[str]) -> Worker:
        request = json.dumps({"names": list(names), "setting": asdict(setting)})
        return Worker([sys.executable, "-m", "benchmarks.gpu_check", "--child", request], variables)

    budgets = {name: SECTIONS[name].seconds for name in options.only or SECTIONS}
    outcomes = supervise(start, budgets, TOTAL_SECONDS, START_SECONDS)
    about = f"{setting.model}, {setting.dtype}, AdamW, clipping, 4 x {setting.length} tokens per stream. {machine()}."
    text = markdown(" ".join(["python -m benchmarks.gpu_check", *arguments]), about, outcomes)
    print(f"RESULTS\n\n{text}")
    if not options.print and not options.only and options.device == "cuda":
        publish(SECTION, text)
    return int(any(not outcome.status.startswith(("done", "skipped")) for outcome in outcomes.values()))


if __name__ == "__main__":
    sys.exit(main())
