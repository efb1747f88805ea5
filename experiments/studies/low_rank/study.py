"""Does what adapters of low rank have forgotten come back at 4 bits, and does it after training of all weights?

Tiny models that know fictitious authors unlearn half of them with NPO, on all weights at several rates and on adapters
of several ranks and rates, for the same number of steps. Then the merged weights are rounded to 4 bits. Rounding can
bring back what a small change of the weights had removed (Zhang et al., arXiv 2410.16454), and a larger rate on
adapters is said to prevent it (arXiv 2602.13151).

    python -m experiments.studies.low_rank.study     # a quarter of an hour of processor time

Every trial is kept in `trials.jsonl`; what is there already is not run again.
"""

import json
from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from statistics import mean
from typing import Any

import lightning.pytorch as pl
import torch
from jsonargparse import auto_cli
from torch import nn

from experiments.studies.combiners.run import World
from unlearn_pl.commands.story import quiet
from unlearn_pl.models import LoRA
from unlearn_pl.modules import NPO
from unlearn_pl.references import AdapterReference
from unlearn_pl.results import config_hash
from unlearn_pl.robustness import Findings, IntegerRounding, NormalFloat4

EPOCHS = 8
RATES = {None: (3e-4, 1e-3, 4e-3), 2: (4e-3, 1.6e-2), 16: (1e-3, 4e-3, 1.6e-2)}
"""By the rank of the adapters; None for all weights."""
ROUNDINGS = {"NF4": NormalFloat4(), "int4": IntegerRounding(bits=4), "int3": IntegerRounding(bits=3)}
SPLITS = ("forget", "retain")


@dataclass(frozen=True)
class Setting:
    """How a model unlearns.

    Attributes:
        rank: of the adapters, with a scale of 2; None for all weights.
        rate: learning rate.
    """

    rank: int | None
    rate: float


class RoundedWorld(World):
    """A world of the study of combiners, whose models are rounded."""

    def trial(self, setting: Setting | None) -> dict[str, float]:
        """Figures before and after rounding; of the model that never saw the forget answers for None."""
        model = self.retain_model if setting is None else self._unlearned(setting)
        subject = self.subject(model)
        figures = {}
        with quiet():
            for name, rounding in {"plain": None, **ROUNDINGS}.items():
                module = subject.pretrained(subject.build() if rounding is None else rounding.build(subject))
                figures[name] = Findings.scored(subject.score(module, subject.splits, answers=False)).after
        return {
            f"{split}, {name}": float(values[f"{split}_probability"])
            for name, values in figures.items()
            for split in SPLITS
        }

    def _unlearned(self, setting: Setting) -> nn.Module:
        pl.seed_everything(self.seed, verbose=False)
        model, reference = deepcopy(self.target), None
        if setting.rank is not None:
            model = LoRA(r=setting.rank, alpha=2 * setting.rank).apply(model).train()  # type: ignore[arg-type]
            reference = AdapterReference()
        module = NPO(model, reference=reference, optimizer=partial(torch.optim.AdamW, lr=setting.rate))
        self.fit(module, EPOCHS)
        assert module.model is not None
        return module.model


def study(folder: str = "runs/low_rank_study", seeds: int = 3) -> None:
    """Run what is missing, then print the table.

    Args:
        folder: where models and trials are kept.
        seeds: number of seeds.
    """
    settings = [None, *(Setting(rank, rate) for rank, rates in RATES.items() for rate in rates)]
    path = Path(folder) / "trials.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    trials = {} if not path.exists() else {t["key"]: t for t in map(json.loads, path.read_text().splitlines())}
    for seed in range(seeds):
        world = RoundedWorld(Path(folder) / str(seed), seed)
        for setting in settings:
            plain = None if setting is None else asdict(setting)
            key = config_hash({"seed": seed, "setting": plain, "epochs": EPOCHS})
            if key not in trials:
                trials[key] = {"key": key, "seed": seed, "setting": plain, **world.trial(setting)}
                with path.open("a") as file:
                    file.write(json.dumps(trials[key]) + "\n")
                print(trials[key], flush=True)
    print(table(list(trials.values())))


def table(trials: Sequence[Mapping[str, Any]]) -> str:
    """A row per setting: means over the seeds, and of the forget probability the extremes."""
    columns = [f"{split}, {name}" for split in SPLITS for name in ("plain", *ROUNDINGS)]
    titles = " | ".join(f"P({column})" for column in columns)
    lines = [f"| training | rate | {titles} |", "|---" * (2 + len(columns)) + "|"]
    groups: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for trial in trials:
        setting = trial["setting"]
        rank = None if setting is None else setting["rank"]
        name = "retain model" if setting is None else "all weights" if rank is None else f"LoRA, r = {rank}"
        groups.setdefault((name, "-" if setting is None else f"{setting['rate']:g}"), []).append(trial)
    for (name, rate), mine in groups.items():
        cells = [_cell([trial[column] for trial in mine], column.startswith("forget")) for column in columns]
        lines.append(f"| {name} | {rate} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _cell(values: Sequence[float], with_extremes: bool) -> str:
    text = f"{mean(values):.2f}"
    return f"{text} [{min(values):.2f}, {max(values):.2f}]" if with_extremes else text


if __name__ == "__main__":
    auto_cli(study)
