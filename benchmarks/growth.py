"""How the time of a step grows with the number of objectives, each on a batch of its own, and the solver's share.

    python -m benchmarks.growth                  # 12 M weights
    python -m benchmarks.growth --model 135m

The steps with 2 to 6 objectives take turns in one process. Writes its section of ``RESULTS.md``.
"""

import json
import statistics
import time
from dataclasses import asdict, dataclass
from functools import partial

import torch
from torch import Tensor

from benchmarks.harness import Contestant, Turns, best_device, command_line, in_fresh_process, machine, report, table
from benchmarks.step_cost_loops import fit
from benchmarks.step_cost_task import Task
from unlearn_pl.combiners import MinNorm
from unlearn_pl.modules import UnlearningModule
from unlearn_pl.objectives import CausalLMLoss, Objective, UnlearningCrossEntropyLoss
from unlearn_pl.optim import Constant

COUNTS = range(2, 7)


@dataclass(frozen=True)
class ManyStreams(Task):
    """A stream per objective."""

    @property
    def streams(self) -> list[str]:
        """Names of the streams."""
        return [f"stream {i}" for i in range(self.objectives)]


class TimedMinNorm(MinNorm):
    """Knows how long it took."""

    def __init__(self) -> None:
        super().__init__()
        self.seconds: list[float] = []

    def __call__(self, gramian: Tensor | None, losses: Tensor) -> Tensor:
        start = time.perf_counter()
        weights = super().__call__(gramian, losses)
        self.seconds.append(time.perf_counter() - start)
        return weights


def contestant(task: Task, combiner: MinNorm, device: torch.device) -> Contestant:
    """UCE on the first stream, NLL on the others, SGD (whose state would otherwise fill the memory five times)."""
    first, *others = task.streams
    objectives: dict[str, Objective] = {first: UnlearningCrossEntropyLoss(first)}
    objectives |= {stream: CausalLMLoss(stream) for stream in others}

    def loop(step_done) -> None:
        model, optimizer = task.make_model(device), partial(torch.optim.SGD, lr=1e-5)
        fit(
            UnlearningModule(model, objectives, combiner, optimizer=optimizer, schedule=Constant()),
            task,
            device,
            step_done,
        )

    return loop


def answer(request: dict) -> dict:
    """Median seconds of a step, of the processor, and of the solver, by number of objectives."""
    torch.set_num_threads(1)
    device = best_device()
    combiners = {k: TimedMinNorm() for k in COUNTS}
    tasks = {k: ManyStreams(**{**request["task"], "objectives": k}) for k in COUNTS}
    contestants = {str(k): contestant(tasks[k], combiners[k], device) for k in COUNTS}
    warm_up = request["warm_up"]
    laps = Turns(contestants, warm_up + request["rounds"], device).run()
    return {
        str(k): {
            "tokens": tasks[k].tokens,
            "seconds": statistics.median(wall for wall, _ in laps[str(k)][warm_up:]),
            "processor": statistics.median(processor for _, processor in laps[str(k)][warm_up:]),
            "solver": statistics.median(combiners[k].seconds[warm_up:]),
        }
        for k in COUNTS
    }


def main() -> None:
    parser = command_line(__doc__)
    parser.add_argument("--model", default="12m", choices=["tiny", "12m", "135m", "1b"])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--warm-up", type=int, default=2)
    options = parser.parse_args()
    if options.child:
        print(json.dumps(answer(options.child)))
        return
    request = {"task": asdict(Task(options.model)), "rounds": options.rounds, "warm_up": options.warm_up}
    found = in_fresh_process("benchmarks.growth", request)
    rows = [
        [k, f["tokens"], f"{f['seconds']:.3f}", f"{f['processor']:.3f}", f"{1e3 * f['solver']:.2f} ms",
         f"{100 * f['solver'] / f['seconds']:.2f} %"]
        for k, f in found.items()
    ]  # fmt: skip
    tokens = [f["tokens"] for f in found.values()]
    fits = {
        name: statistics.correlation(tokens, [f[name] for f in found.values()]) ** 2
        for name in ("seconds", "processor")
    }
    text = (
        f"`python -m benchmarks.growth --model {options.model} --rounds {options.rounds}`: MinNorm, SGD, 4 examples of "
        f"128 tokens per objective, one thread, medians. {machine()}.\n\n"
        + table(["K", "tokens", "seconds", "processor's seconds", "solver", "solver's share"], rows)
        + f"\n\nAs a linear function of the tokens: R^2 = {fits['seconds']:.4f} (wall clock), "
        f"{fits['processor']:.4f} (processor)."
    )
    report(f"growth, {options.model}", text, options)


if __name__ == "__main__":
    main()
