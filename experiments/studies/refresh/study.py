"""What does it cost to ask the combiner at every m-th step only, or to ask it about sketches?

MOLLM unlearns half of the fictitious authors that tiny models know, in 48 steps: with a Gramian at every step, at
every 2nd to 16th, from sketches of several sizes, and with both. Every arm is tried at the same learning rates; its
best one, by the mean of forget score times utility over the seeds, goes into the table. Beside every step, the exact
gradients are computed once more and say what the step did to each objective.

    python -m experiments.studies.refresh.study                  # everything, 3 seeds
    python -m experiments.studies.refresh.study --report_only true    # the table of what was run before

Every run is kept in `trials.jsonl`; what is there already is not run again.
"""

import json
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from statistics import mean

import torch
from jsonargparse import auto_cli
from torch import Tensor

from experiments.studies.combiners.analysis import Trial, area, best_by, forget_score
from experiments.studies.combiners.run import Descent, World
from unlearn_pl import engine
from unlearn_pl.combiners import MinNorm
from unlearn_pl.engine import Step
from unlearn_pl.gradients import Replay, Runtime, SketchedRows, gramian, window_of
from unlearn_pl.modules import MOLLM
from unlearn_pl.types import Window

RATES, EPOCHS = (5e-4, 1e-3, 2e-3, 4e-3), 12
ARMS: dict[str, dict[str, object]] = {
    **{f"m = {m}": {"refresh_every": m} for m in (1, 2, 4, 8, 16)},
    **{f"sketch of {size}": {"gradient": SketchedRows(size)} for size in (4096, 16384, 65536)},
    "sketch of 16384, m = 4": {"gradient": SketchedRows(16384), "refresh_every": 4},
}
COLUMNS = ("area", "log10_forget_quality", "utility", "asked", "combined", "taken", "cosine_error")


class WatchedDescent(engine.Descent):
    """Computes the exact gradients beside every step.

    Args:
        plain: what is watched.
        monitor: is given the exact gradients of every step.
    """

    def __init__(self, plain: engine.Descent, monitor: Descent) -> None:
        super().__init__(plain.objectives, plain.combiner, gradient=plain.gradient, refresh_every=plain.refresh.every)
        self.monitor = monitor
        self.watched: list[dict[str, float]] = []

    def step(self, data: Window, runtime: Runtime) -> Step:
        """Look at the step that is taken."""
        window = window_of(data, self.objectives, runtime.count, runtime.world_size, self.windows_closed)
        rows = Replay(window, runtime).rows()
        asked = self.refresh.due
        step = super().step(data, runtime)
        self.watched.append(look(gramian(list(rows.values())), step, self.combiner.live, asked))
        self.monitor.on_rows(rows, step.mean_weights, runtime.parameters)
        return step


class WatchedMOLLM(MOLLM):
    """MOLLM whose steps are watched by the engine alone, in the same way with rows or without."""

    def on_rows(self, rows: object, weights: Tensor) -> None:
        """Nothing."""


def look(exact: Tensor, step: Step, live: Tensor, asked: bool) -> dict[str, float]:
    """Was the combiner asked, do all live objectives descend along the combination, and how far are the cosines off?"""
    figures = {"asked": float(asked)}
    if step.weights.any():
        figures["combined"] = float(((exact @ step.mean_weights)[live] > 0).all())
    if asked and live.sum() > 1:
        norms = exact.diagonal().sqrt()
        error = step.gramian / step.norms.outer(step.norms) - exact / norms.outer(norms)
        figures["cosine_error"] = error[live][:, live].abs().max().item()
    return figures


def study(
    folder: str = "runs/refresh_study",
    worlds: str = "runs/combiner_study",
    seeds: int = 3,
    arms: str = "",
    report_only: bool = False,
) -> None:
    """Run what is missing, then print the table.

    Args:
        folder: where trials are kept.
        worlds: where the models are kept; the study of combiners has the same ones.
        seeds: number of seeds.
        arms: names, separated by semicolons; all by default.
        report_only: run nothing.
    """
    path = Path(folder) / "trials.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    trials = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    done = {(t["arm"], t["rate"], t["seed"]) for t in trials}
    for seed in range(0 if report_only else seeds):
        world = World(Path(worlds) / f"seed{seed}", seed)
        for arm in arms.split(";") if arms else ARMS:
            for rate in RATES:
                if (arm, rate, seed) not in done:
                    trials.append({"arm": arm, "rate": rate, "seed": seed, **run(world, arm, rate)})
                    with path.open("a") as file:
                        file.write(json.dumps(trials[-1]) + "\n")
    print_table(trials)


def run(world: World, arm: str, rate: float) -> dict[str, float]:
    """Figures of one unlearning run."""
    descent, watched = Descent(), []

    def method(*args: object, **options: object) -> MOLLM:
        module = WatchedMOLLM(*args, **options, **ARMS[arm])  # type: ignore[arg-type]
        module.descent = WatchedDescent(module.descent, descent)
        watched.append(module.descent)
        return module

    target = world.target_metrics
    metrics = world.unlearn(partial(method), MinNorm(satisfied=0.1), rate, descent, EPOCHS)
    steps = watched[0].watched
    return {
        "forget_score": forget_score(metrics["log10_forget_quality"], target["log10_forget_quality"]),
        "utility": min(1.0, metrics["utility"] / target["utility"]),
        "log10_forget_quality": metrics["log10_forget_quality"],
        "taken": descent.shares()["all"],
        **{
            name: _mean([step[name] for step in steps if name in step])
            for name in ("asked", "combined", "cosine_error")
        },
    }


def _mean(values: Sequence[float]) -> float:
    return mean(values) if values else float("nan")


def print_table(trials: Sequence[Trial]) -> None:
    """The best rate of each arm, means over its seeds (the worst seed's area in brackets)."""
    print("| arm | lr | " + " | ".join(name.replace("_", " ") for name in COLUMNS) + " |")
    print("|---" * (len(COLUMNS) + 2) + "|")
    for arm in dict.fromkeys(t["arm"] for t in trials):
        mine = [t for t in trials if t["arm"] == arm]
        rate = best_by(mine, "rate", area)
        chosen = [t for t in mine if t["rate"] == rate]
        values = [f"{mean(area(t) for t in chosen):.2f} ({min(area(t) for t in chosen):.2f})"]
        values += [f"{mean(t[name] for t in chosen):.3g}" for name in COLUMNS[1:]]  # type: ignore[misc]
        print(f"| {arm} | {rate:g} | " + " | ".join(values) + " |")


if __name__ == "__main__":
    torch.set_num_threads(1)
    auto_cli(study, as_positional=False)
