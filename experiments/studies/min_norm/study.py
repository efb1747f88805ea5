"""Which normalization and which `satisfied` should be MinNorm's default, and does it match a tuned weighted sum?

Tiny models that know fictitious authors unlearn half of them, with every contender tried at the same number of
settings (learning rates for MOLLM; learning rates and weights for weighted sums) and on the same seeds. The best
setting of each contender, by the mean score over the seeds, goes into the table.

    python -m experiments.studies.min_norm.study                                           # all contenders, 3 seeds
    python -m experiments.studies.min_norm.study --contenders graddiff,l2_satisfied        # some of them
    python -m experiments.studies.min_norm.study --table_only true                         # the table of earlier runs

Every run is kept in `trials.jsonl`; what is there already is not run again.
"""

import json
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import mean

import torch
from jsonargparse import auto_cli

from unlearn_pl.combiners import DualBasis, MinNorm, Scalarization
from unlearn_pl.commands.story import Story
from unlearn_pl.modules import MOLLM, GradDiff, UnlearningModule

RATES = (3e-4, 5e-4, 7e-4, 1e-3, 1.5e-3, 2e-3)
TrialFactory = Callable[[str], UnlearningModule]


def adam(lr: float) -> Callable[..., torch.optim.Optimizer]:
    return partial(torch.optim.AdamW, lr=lr)


def mollm(combiner: Callable[[], object]) -> dict[str, TrialFactory]:
    return {f"lr {lr:g}": lambda m, lr=lr: MOLLM(m, combiner=combiner(), optimizer=adam(lr)) for lr in RATES}


def weighted(
    method: Callable[[str, float, float], UnlearningModule], weights: tuple[float, float]
) -> dict[str, TrialFactory]:
    grid = [(w, lr) for w in weights for lr in (5e-4, 1e-3, 1.5e-3)]
    return {f"forget weight {w:g}, lr {lr:g}": lambda m, w=w, lr=lr: method(m, w, lr) for w, lr in grid}


CONTENDERS: dict[str, dict[str, TrialFactory]] = {
    "graddiff": weighted(lambda m, w, lr: GradDiff(m, forget_weight=w, optimizer=adam(lr)), (0.1, 0.2)),
    "weighted_sum": weighted(
        lambda m, w, lr: MOLLM(m, combiner=Scalarization({"forget": w}), optimizer=adam(lr)), (0.3, 1.0)
    ),
    "l2_satisfied": mollm(lambda: MinNorm(normalization="l2", satisfied=0.1)),
    "l2_satisfied_0.05": mollm(lambda: MinNorm(normalization="l2", satisfied=0.05)),
    "l2_satisfied_0.2": mollm(lambda: MinNorm(normalization="l2", satisfied=0.2)),
    "l2": mollm(lambda: MinNorm(normalization="l2")),
    "none": mollm(lambda: MinNorm(normalization="none")),
    "ema_satisfied": mollm(lambda: MinNorm(normalization="ema", satisfied=0.1)),
    "floor_satisfied": mollm(lambda: MinNorm(normalization="l2", norm_floor=0.1, satisfied=0.1)),
    "dual_basis_satisfied": mollm(lambda: DualBasis(satisfied=0.1)),
}
METRICS = ("forget_probability", "forget_truth_ratio", "model_utility", "retain_probability")


def study(folder: str = "runs/min_norm_study", contenders: str = "", seeds: int = 3, table_only: bool = False) -> None:
    """Run what is missing, then print the table.

    Args:
        folder: where models and trials are kept.
        contenders: names, separated by commas; all by default.
        seeds: number of seeds.
        table_only: run nothing.
    """
    names = contenders.split(",") if contenders else list(CONTENDERS)
    path = Path(folder) / "trials.jsonl"
    trials = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    done = {(t["contender"], t["setting"], t["seed"]) for t in trials}
    for seed in range(0 if table_only else seeds):
        story = Story(Path(folder) / f"seed{seed}", seed)
        utility = prepare(story)
        for name in names:
            for setting, factory in CONTENDERS[name].items():
                if (name, setting, seed) in done:
                    continue
                trial = {"contender": name, "setting": setting, "seed": seed, **run(story, factory, utility)}
                trials.append(trial)
                with path.open("a") as file:
                    file.write(json.dumps(trial) + "\n")
    print_table(trials)


def prepare(story: Story) -> float:
    """Train target and retain model where they are missing; the target's model utility."""
    for name, split in (("target", "full"), ("retain", "retain")):
        if not story.path(name).exists():
            story.fine_tune(name, split)  # type: ignore[arg-type]
            story.evaluate(name)
    return json.loads((story.folder / "target" / "results.json").read_text())["metrics"]["model_utility"]


def run(story: Story, factory: TrialFactory, target_utility: float) -> dict[str, float]:
    """Unlearn and evaluate once."""
    story.unlearn("run", factory(str(story.path("target"))), watch_every=0)
    metrics = story.evaluate("run", str(story.folder / "retain" / "results.json")).metrics
    log10_quality = max(-99.0, metrics["log10_forget_quality"])
    return {
        "score": score(log10_quality, metrics["model_utility"] / target_utility),
        "log10_forget_quality": log10_quality,
        **{name: metrics[name] for name in METRICS},
        "seconds": story.seconds["run"],
    }


def score(log10_quality: float, relative_utility: float) -> float:
    """Harmonic mean of forget quality (1 at p = 1, 0 at p <= 1e-5, linear in log p) and utility kept."""
    quality = max(0.0, 1.0 + log10_quality / 5.0)
    return 0.0 if min(quality, relative_utility) <= 0 else 2 / (1 / quality + 1 / relative_utility)


def print_table(trials: list[dict]) -> None:
    """The best setting of each contender, means over the seeds (worst seed's score in brackets)."""
    columns = ("score", "log10_forget_quality", *METRICS)
    print("| contender | trials | best setting | " + " | ".join(c.replace("_", " ") for c in columns) + " |")
    print("|---" * (len(columns) + 3) + "|")
    rows = []
    for name in dict.fromkeys(t["contender"] for t in trials):
        mine = [t for t in trials if t["contender"] == name]
        runs = Counter(t["setting"] for t in mine)
        settings = [setting for setting in runs if runs[setting] == max(runs.values())]  # on all of its seeds
        best = max(settings, key=lambda s: mean(t["score"] for t in mine if t["setting"] == s))
        chosen = [t for t in mine if t["setting"] == best]
        values = [f"{mean(t[c] for t in chosen):.3f}" for c in columns]
        values[0] += f" ({min(t['score'] for t in chosen):.3f})"
        cells = [name, f"{len(settings)} x {len(chosen)} seeds", best, *values]
        rows.append((mean(t["score"] for t in chosen), "| " + " | ".join(cells) + " |"))
    for _, row in sorted(rows, reverse=True):
        print(row)


if __name__ == "__main__":
    auto_cli(study, as_positional=False)
