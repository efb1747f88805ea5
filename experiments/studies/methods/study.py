"""Which method first? Forgetting, utility, what an attacker gets back, and the cost, of every method.

Tiny models that know fictitious authors unlearn half of them with every method, its default options, and five learning
rates (factors, where nothing is trained): five trials for each, none of them tuned further. The rate of a method is the
one with the best end, averaged over the seeds; its models are then relearned and rounded to 4 bits.

    python -m experiments.studies.methods.study                     # 3 seeds
    python -m experiments.studies.methods.study --table_only true   # of earlier runs

Every trial is a line of `trials.jsonl`, every attacked model one of `attacked.jsonl`; what is there is not run again.
"""

import json
import math
import time
from collections.abc import Mapping
from copy import deepcopy
from functools import partial
from pathlib import Path
from statistics import fmean
from typing import Any

import lightning.pytorch as pl
import torch
from jsonargparse import auto_cli

from experiments.studies.combiners.run import EPOCHS, World
from experiments.studies.methods.arms import METHODS
from experiments.studies.methods.table import print_table
from experiments.studies.methods.untrained import FACTORS, UNTRAINED, redirected
from unlearn_pl.callbacks import BackwardPasses
from unlearn_pl.commands.lens.command import labeled_batches
from unlearn_pl.commands.story import quiet
from unlearn_pl.models.layers.lens import write_lens
from unlearn_pl.models.layers.lens_training import train_lens
from unlearn_pl.modules import ModelModule
from unlearn_pl.results import weights_fingerprint
from unlearn_pl.robustness import IntegerRounding, Quantization, RandomFraction, RelearningSweep

RATES = (1e-4, 3e-4, 1e-3, 3e-3, 1e-2)
RELEARNING = RelearningSweep(
    [RandomFraction(0.2)], learning_rates=[1e-3, 3e-3], steps=12, evaluate_every=4, batch_size=8
)
FOUR_BITS = Quantization(IntegerRounding(bits=4, group_size=32))
FORGET = "forget_probability"
LENS_EPOCHS = 20


def optimizer_of(method: str, rate: float) -> partial[torch.optim.AdamW]:
    """AdamW, with the momentum that goals are measured at where there are goals."""
    return partial(torch.optim.AdamW, lr=rate, betas=(0.5 if "goals" in method else 0.9, 0.999))


def lens_of(world: World) -> dict[str, str]:
    """The argument with the lenses of a world's target, which are trained once."""
    path = world.folder / "lens.safetensors"
    if not path.exists():
        subject = world.subject(world.target)
        lens, _ = train_lens(
            world.target, labeled_batches(subject, [*subject.forget, *subject.retain]), epochs=LENS_EPOCHS
        )
        write_lens(path, lens, weights_fingerprint(world.target), {})
    return {"lens": str(path)}


def trials_of(method: str) -> tuple[float, ...]:
    """Five learning rates, or factors for what is not trained."""
    return FACTORS if method in UNTRAINED else RATES


def unlearned(world: World, method: str, rate: float) -> tuple[ModelModule, dict[str, Any]]:
    """A module after unlearning, and the figures of its run."""
    if method in UNTRAINED:
        return redirected(world, rate, answers=UNTRAINED[method])
    needed = lens_of(world) if method == "TunedLens" else {}
    module = METHODS[method](deepcopy(world.target), optimizer=optimizer_of(method, rate), **needed)
    passes = BackwardPasses()
    before = time.process_time()
    metrics = world.fit(module, EPOCHS, [passes])
    seconds = time.process_time() - before
    steps = module.windows_closed
    figures = {"passes": passes.count / steps, "seconds": seconds / steps, "skipped": sum(module.skipped.values())}
    return module, metrics | figures


def end(row: Mapping[str, float]) -> float:
    """How well a trial ended, in [0, 1]: harmonic mean of the forgetting and of the share of the utility kept.

    Forgetting is the way from the target's forget probability to the retrained model's, and no farther.
    """
    way = row["target_forget"] - row["retrained_forget"]
    forgotten = min(1.0, max(0.0, (row["target_forget"] - row[FORGET]) / way))
    kept = min(1.0, row["utility"] / row["target_utility"])
    if not all(map(math.isfinite, (forgotten, kept))) or forgotten + kept == 0:
        return 0.0
    return 2 * forgotten * kept / (forgotten + kept)


def best_rates(trials: Mapping[str, Mapping[tuple[float, int], Mapping[str, float]]]) -> dict[str, float]:
    """Method to the rate with the best mean end over the seeds."""
    chosen = {}
    for method, rows in trials.items():
        rates = sorted({rate for rate, _ in rows})
        chosen[method] = max(rates, key=lambda rate: fmean(end(row) for (r, _), row in rows.items() if r == rate))
    return chosen


def attacked(world: World, method: str, rate: float) -> dict[str, float]:
    """What comes back of a model that is trained anew, as in its trial."""
    module, metrics = unlearned(world, method, rate)
    assert module.model is not None
    subject = world.subject(module.model)
    with quiet():
        relearned = RELEARNING.run(subject).after
        rounded = FOUR_BITS.run(subject).after
    return {"again": metrics[FORGET], "relearned": relearned[FORGET], "4 bits": rounded[FORGET]}


def read(path: Path) -> dict[str, dict[tuple[float, int], dict[str, float]]]:
    """Method to rate and seed to the figures of its line."""
    rows: dict[str, dict[tuple[float, int], dict[str, float]]] = {}
    for line in path.read_text().splitlines() if path.exists() else []:
        row = json.loads(line)
        rows.setdefault(row["method"], {})[row["rate"], row["seed"]] = row
    return rows


def write(path: Path, row: Mapping[str, Any]) -> None:
    """Append a line."""
    with path.open("a") as file:
        file.write(json.dumps(row) + "\n")
    print(json.dumps({name: row[name] for name in ("method", "rate", "seed")}), flush=True)


def study(folder: str = "runs/methods_study", seeds: int = 3, table_only: bool = False) -> None:
    """Run what is missing, then print the table.

    Args:
        folder: where models and lines are kept.
        seeds: number of seeds: 0, 1, ...
        table_only: run nothing.
    """
    root = Path(folder)
    trials, attacks = root / "trials.jsonl", root / "attacked.jsonl"
    worlds = [World(root / f"seed{seed}", seed) for seed in range(0 if table_only else seeds)]
    for world in worlds:
        done = read(trials)
        for method in (*METHODS, *UNTRAINED):
            for rate in trials_of(method):
                if (rate, world.seed) not in done.get(method, {}):
                    _, figures = unlearned(world, method, rate)
                    write(trials, {"method": method, "rate": rate, "seed": world.seed, **figures, **_ends(world)})
    chosen = best_rates(read(trials))
    for world in worlds:
        done = read(attacks)
        for name, rate in chosen.items():
            if (rate, world.seed) not in done.get(name, {}):
                row = {"method": name, "rate": rate, "seed": world.seed, **attacked(world, name, rate)}
                write(attacks, row)
    print_table(read(trials), read(attacks), chosen, end)


def _ends(world: World) -> dict[str, float]:
    """The two models between which a trial ends."""
    before, retrained = world.target_metrics, world.retrained_metrics
    return {
        "target_forget": before[FORGET],
        "target_utility": before["utility"],
        "retrained_forget": retrained[FORGET],
    }


if __name__ == "__main__":
    pl.seed_everything(0, verbose=False)
    auto_cli(study, as_positional=False)
