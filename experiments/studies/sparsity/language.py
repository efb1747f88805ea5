"""How many weights need to move to forget, and does pruning an unlearned language model bring knowledge back?

A tiny Llama that knows fictitious authors unlearns half of them with MOLLM: as it is, with an L1 penalty on the change
of the weights, and after its weights were pruned. Every result is then pruned by magnitude and by Wanda.

    python -m experiments.studies.sparsity.language --seeds 3

Every run is kept in `trials.jsonl`; what is there already is not run again.
"""

import json
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from statistics import mean, stdev

import lightning.pytorch as pl
import torch
from jsonargparse import auto_cli

from unlearn_pl.callbacks import L1Sparse
from unlearn_pl.commands.story import Story, quiet
from unlearn_pl.data import SyntheticAuthorsDataModule
from unlearn_pl.masks import PrunedWeights
from unlearn_pl.modules import MOLLM, UnlearningModule
from unlearn_pl.robustness import Attack, MagnitudePruner, PruningAttack, Subject, Unattacked, WandaPruner

SIZES = {"authors": 4, "hidden_size": 64, "memorizing_epochs": 60, "unlearning_epochs": 24}
ATTACKS: dict[str, Callable[[], Attack]] = {
    "none": Unattacked,
    **{
        f"magnitude {ratio:g}": partial(lambda r: PruningAttack(MagnitudePruner(r)), ratio) for ratio in (0.3, 0.5, 0.7)
    },
    "Wanda 0.5": lambda: PruningAttack(WandaPruner(0.5)),
}


class PenalizedMOLLM(MOLLM):
    """MOLLM with an L1 penalty on the change of the weights."""

    penalty: L1Sparse | None = None

    def configure_callbacks(self) -> Sequence[pl.Callback]:
        return [*super().configure_callbacks(), *([] if self.penalty is None else [self.penalty])]


def mollm(model: str, weight: float = 0.0, ratio: float = 0.0) -> PenalizedMOLLM:
    """MOLLM with a constant penalty of this weight, on a model of which this share is pruned.

    Adam moves every weight by about the learning rate; a penalty below 1 holds back those whose gradients are noise.
    """
    mask = PrunedWeights(ratio) if ratio else None
    module = PenalizedMOLLM(model, mask=mask, optimizer=partial(torch.optim.AdamW, lr=1e-3, weight_decay=0.0))
    if weight:
        module.penalty = L1Sparse(weight=weight, relative_to="original", final_share=1.0)
    return module


ARMS: dict[str, Callable[[str], UnlearningModule] | None] = {
    "target": None,
    "MOLLM": mollm,
    "MOLLM, l1 0.2": partial(mollm, weight=0.2),
    "MOLLM, l1 0.4": partial(mollm, weight=0.4),
    "MOLLM, l1 0.6": partial(mollm, weight=0.6),
    "MOLLM on 50 % sparse": partial(mollm, ratio=0.5),
}


def study(folder: str = "runs/sparse_language_study", seeds: int = 3, table_only: bool = False) -> None:
    """Run what is missing, then print the table.

    Args:
        folder: where models and trials are kept.
        seeds: number of seeds.
        table_only: run nothing.
    """
    path = Path(folder) / "trials.jsonl"
    trials = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    done = {(t["arm"], t["seed"]) for t in trials}
    for seed in () if table_only else range(seeds):
        for arm in ARMS:
            if (arm, seed) not in done:
                trials.append(run(Story(Path(folder) / f"seed{seed}", seed, **SIZES), arm))  # type: ignore[arg-type]
                with path.open("a") as file:
                    file.write(json.dumps(trials[-1]) + "\n")
    print_table(trials)


def run(story: Story, arm: str) -> dict[str, object]:
    """Train one arm, and attack it."""
    if not story.path("target").exists():
        story.fine_tune("target", "full")
    make, moved = ARMS[arm], None
    if make is not None:
        module = make(str(story.path("target")))
        story.unlearn(arm, module, watch_every=0)
        penalty = getattr(module, "penalty", None)
        moved = 1 - penalty.share if penalty is not None else None
    sizes = dict.fromkeys(("forget_authors", "retain_authors", "holdout_authors"), story.authors)
    data = SyntheticAuthorsDataModule(story.tokenizer, seed=story.seed, eval_batch_size=64, **sizes)
    subject = Subject(str(story.path(arm)), data, seed=story.seed, max_new_tokens=4, accelerator="cpu")
    with quiet():
        leaks = {name: make_attack().run(subject).after for name, make_attack in ATTACKS.items()}
    kept = {name: {s: leak[f"{s}_probability"] for s in ("forget", "retain")} for name, leak in leaks.items()}
    return {"arm": arm, "seed": story.seed, "moved": moved, "leaks": kept}


def print_table(trials: list[dict]) -> None:
    """Means over the seeds, with standard deviations: share of weights that moved, and probabilities by attack."""
    print(f"\n| arm | seeds | moved, % | {' | '.join(ATTACKS)} |")
    print("|---" * (len(ATTACKS) + 3) + "|")
    for arm in ARMS:
        runs = [t for t in trials if t["arm"] == arm]
        if runs:
            moved = [100 * t["moved"] for t in runs if t["moved"] is not None]
            cells = [spread([t["leaks"][attack][s] for t in runs]) for attack in ATTACKS for s in ("forget", "retain")]
            pairs = [f"{forget} / {retain}" for forget, retain in zip(cells[::2], cells[1::2], strict=True)]
            print(f"| {arm} | {len(runs)} | {spread(moved, 1) if moved else '-'} | {' | '.join(pairs)} |")


def spread(values: list[float], digits: int = 2) -> str:
    """Mean and standard deviation."""
    return f"{mean(values):.{digits}f}" + (f" ({stdev(values):.{digits}f})" if len(values) > 1 else "")


if __name__ == "__main__":
    auto_cli(study, as_positional=False)
