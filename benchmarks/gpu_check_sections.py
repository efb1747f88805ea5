"""What ``gpu_check`` measures, a function per section. Each returns Markdown."""

import gc
import importlib.util
import warnings
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch.profiler import ProfilerActivity, profile

from benchmarks.gpu_check_resume import HEADER, Run, kill_and_resume
from benchmarks.harness import RESULTS, Contestant, table, take_steps
from benchmarks.memory import estimated
from benchmarks.step_cost import Case, peak, timed
from benchmarks.step_cost_loops import make_loop
from benchmarks.step_cost_task import Task


class SkippedError(Exception):
    """Raised by a section that cannot run here; says why."""


class WrongError(Exception):
    """Raised by a section that measured something wrong.

    Args:
        message: what is wrong.
        text: Markdown with the figures.
    """

    def __init__(self, message: str, text: str) -> None:
        super().__init__(message)
        self.text = text


@dataclass(frozen=True)
class Setting:
    """What is trained, where, and for how long.

    Attributes:
        device: ``cuda`` or ``cpu``.
        model: a key of ``MODELS``.
        dtype: of the weights.
        length: tokens per example.
        warm_up: steps before the timed ones.
        rounds: timed steps.
        objectives: numbers of objectives of which memory and synchronizations are measured.
        resumed_width: hidden size of the model that is killed and resumed.
        dropouts: its probabilities of dropout, one after another.
    """

    device: str = "cuda"
    model: str = "1b"
    dtype: str = "bfloat16"
    length: int = 128
    warm_up: int = 3
    rounds: int = 9
    objectives: Sequence[int] = (2, 3)
    resumed_width: int = 512
    dropouts: Sequence[float] = (0.0, 0.1)

    def task(self, objectives: int) -> Task:
        """The task with 2 or 3 objectives."""
        return Task(self.model, objectives=objectives, length=self.length, dtype=self.dtype)

    @property
    def place(self) -> torch.device:
        """The device."""
        return torch.device(self.device)


SIZES = {
    "1b": Setting(),
    "135m": Setting(model="135m"),
    "tiny": Setting(
        model="tiny",
        dtype="float32",
        length=16,
        warm_up=1,
        rounds=2,
        objectives=(3,),
        resumed_width=16,
        dropouts=(0.0,),
    ),
}


def step_cost(setting: Setting) -> str:
    """Time of a step against a plain loop and ``transformers.Trainer``."""
    two, three = setting.task(2), setting.task(3)
    pairs = [
        ("K = 2", "MinNorm", "plain", two, "6/6"),
        ("K = 3, reference given", "MinNorm", "plain", three, "8/6"),
        ("K = 2", "Scalarization", "plain", two, "6/6"),
        ("K = 2", "Scalarization", "transformers.Trainer", two, "6/6"),
        ("K = 3, reference given", "MinNorm", "transformers.Trainer", three, "8/6"),
    ]
    return _pairs(setting, [Case(title, loop, peer, task, bound) for title, loop, peer, task, bound in pairs])


def _pairs(setting: Setting, cases: list[Case]) -> str:
    rows = []
    for case in cases:
        found = timed(case, setting.warm_up, setting.rounds, setting.place)
        _free()
        rows.append(
            [
                f"{case.loop} / {case.peer}, {case.title}",
                f"{case.bound:.2f}" if case.operations else "",
                f"**{found.ratio:.2f}** ({found.low:.2f} to {found.high:.2f})",
                f"{1e3 * found.seconds:.1f}, {1e3 * found.peer_seconds:.1f}",
                f"{case.task.tokens / found.seconds:.0f}",
            ]
        )
    return table(["pair", "operations", "time (quartiles)", "milliseconds", "tokens/s"], rows)


def memory(setting: Setting) -> str:
    """Peak of each loop alone, and how far the estimate is off."""
    rows = []
    for objectives in setting.objectives:
        for loop in ("plain", "plain, stream by stream", "transformers.Trainer", "Scalarization", "MinNorm"):
            mib = peak(loop, setting.task(objectives), setting.place)
            _free()
            rows.append([loop, objectives, f"{mib:.0f}", *_estimate(setting, loop, objectives)])
    return table(["loop", "K", "peak MiB", "estimate", "measured with the estimate", "error"], rows)


def _estimate(setting: Setting, loop: str, objectives: int) -> list[str]:
    if loop not in ("Scalarization", "MinNorm"):
        return ["", "", ""]
    found = estimated(loop, setting.task(objectives), setting.place)
    _free()
    error = f"{100 * (found['estimate'] / found['measured'] - 1):+.0f} %" if found["measured"] >= 1 else "too small"
    return [f"{found['estimate']:.0f}", f"{found['measured']:.0f}", error]


COUNTED = {
    "cudaStreamSynchronize": "stream",
    "cudaDeviceSynchronize": "device",
    "cudaEventSynchronize": "event",
    "cudaMemcpy": "blocking copy",
    "aten::item": "item",
    "aten::nonzero": "nonzero",
}
"""Event of the profile to its column."""
BEFORE, PROFILED = 2, 2
"""Steps before the profile, and in it."""


def synchronizations(setting: Setting) -> str:
    """Calls that wait for the GPU, per optimizer step; where they are in the source, where a GPU tells."""
    rows, places = [], []
    for objectives in setting.objectives:
        for loop in ("plain", "transformers.Trainer", "Scalarization", "MinNorm"):
            contestant = make_loop(loop, setting.task(objectives), setting.place)
            counts, lines = profiled(contestant, setting.place)
            _free()
            rows.append([loop, objectives, *(f"{counts[name] / PROFILED:g}" for name in COUNTED), *_of_lines(lines)])
            if lines:
                most = "; ".join(f"`{line}` {count}" for line, count in lines.most_common(12))
                places.append(f"{loop}, K = {objectives}: lines at which a step waits, and how often: {most}.")
    note = (
        "Per optimizer step. `item` counts those of tensors on the CPU, too, which wait for nothing. `waits` are "
        "PyTorch's warnings that the host waits for the GPU, on a GPU only; `own` those at lines of `unlearn_pl`: 1 is "
        "the aim. transformers looks at the padding in every forward, whatever the loop."
    )
    return "\n\n".join([note, table(["loop", "K", *COUNTED.values(), "waits", "own"], rows), *places])


def _of_lines(lines: Counter[str] | None) -> list[str]:
    if lines is None:
        return ["", ""]
    return [f"{lines.total()}", f"{sum(n for line, n in lines.items() if line.startswith('unlearn_pl/'))}"]


def profiled(contestant: Contestant, device: torch.device) -> tuple[Counter[str], Counter[str] | None]:
    """How often each of ``COUNTED`` occurs in ``PROFILED`` steps, and on a GPU, the lines at which one more waits."""
    cuda = device.type == "cuda"
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if cuda else [])]
    profiler, taken = profile(activities=activities), 0

    def watched(step_done: Callable[[], None]) -> None:
        def look() -> None:
            nonlocal taken
            taken += 1
            if taken == BEFORE:
                profiler.start()
            if taken == BEFORE + PROFILED:
                profiler.stop()
            if cuda:
                torch.cuda.set_sync_debug_mode("warn" if taken == BEFORE + PROFILED else "default")
            step_done()

        contestant(look)

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            take_steps(watched, BEFORE + PROFILED + cuda)
        finally:
            if cuda:
                torch.cuda.set_sync_debug_mode("default")
    counts = Counter({event.key: event.count for event in profiler.key_averages() if event.key in COUNTED})
    return counts, lines_of(caught) if cuda else None


def lines_of(caught: Sequence[warnings.WarningMessage]) -> Counter[str]:
    """Lines of source of PyTorch's warnings that the host waits for the GPU."""
    waits = [each for each in caught if "synchroniz" in str(each.message)]
    return Counter(f"{_short(each.filename)}:{each.lineno}" for each in waits)


def _short(filename: str) -> str:
    path = Path(filename)
    root = RESULTS.parents[1]
    return str(path.relative_to(root)) if path.is_relative_to(root) else "/".join(path.parts[-3:])


def offloaded_rows(setting: Setting) -> str:
    """Time and memory of a step whose rows go to the host, against one that keeps them on the GPU."""
    return _against_min_norm(setting, "MinNorm, OffloadedRows", setting.task(3))


def eight_bit(setting: Setting) -> str:
    """Time and memory of a step with moments in 8 bits.

    Raises:
        SkippedError: without bitsandbytes or a GPU.
    """
    if importlib.util.find_spec("bitsandbytes") is None:
        raise SkippedError("bitsandbytes is not installed")
    if setting.device == "cpu":
        raise SkippedError("the 8-bit kernels of bitsandbytes are for GPUs")
    return _against_min_norm(setting, "MinNorm, AdamW8bit", setting.task(2))


def _against_min_norm(setting: Setting, loop: str, task: Task) -> str:
    time = _pairs(setting, [Case(f"K = {task.objectives}", loop, "MinNorm", task)])
    peaks = [peak(each, task, setting.place) for each in (loop, "MinNorm")]
    return f"{time}\n\nPeak: {peaks[0]:.0f} MiB, of MinNorm {peaks[1]:.0f} MiB."


def resume(setting: Setting) -> str:
    """SIGKILL and resume, bit for bit, without and with dropout.

    Raises:
        WrongError: if weights differ.
    """
    runs = [Run(setting.device, setting.resumed_width, dropout) for dropout in setting.dropouts]
    found = [(run.dropout, kill_and_resume(run)) for run in runs]
    text = table(["dropout", *HEADER], [[dropout, *resumed.cells()] for dropout, resumed in found])
    if wrong := [dropout for dropout, resumed in found if resumed.differing]:
        raise WrongError(f"weights differ after the resume with dropout {', '.join(map(str, wrong))}", text)
    return text


def _free() -> None:
    """Give back what the last loop held."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


@dataclass(frozen=True)
class Section:
    """A part of the check.

    Attributes:
        title: its heading.
        measure: what runs.
        seconds: at most.
    """

    title: str
    measure: Callable[[Setting], str]
    seconds: float


SECTIONS = {
    "step-cost": Section("Cost of a step", step_cost, 80),
    "memory": Section("Peak memory", memory, 70),
    "synchronizations": Section("Synchronizations", synchronizations, 60),
    "offloaded-rows": Section("Rows on the host", offloaded_rows, 35),
    "8-bit": Section("Optimizer in 8 bits", eight_bit, 30),
    "resume": Section("Kill and resume", resume, 50),
}
"""Name to section, in their order. The seconds and the first start add up to less than six minutes."""
