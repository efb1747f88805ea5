"""How much of NPO's forgetting do a few weights carry? NPO with the retain loss, on the weights that a score selects.

    python -m experiments.studies.markov_chains.masks                  # train what is missing, unlearn, print the table

Every arm is NPO + retain on the experiment ``length``; dense is without a mask. Models are shared with the study.
"""

import json
import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import mean

import lightning.pytorch as pl
import torch
from jsonargparse import auto_cli

from experiments.studies.markov_chains.world import World, options
from unlearn_pl.attribution import SNIP, WAGLE, Attribution, Magnitude, Random, SalUn, Wanda, write_mask
from unlearn_pl.commands.story import quiet
from unlearn_pl.masks import MaskFile
from unlearn_pl.modules import NPO

EXPERIMENT = "length"
CHAINS = ("retain", "forget1", "forget2")


def study(folder: str = "runs/markov_chains", seeds: int = 3, report_only: bool = False) -> None:
    """Run what is missing, then print the table.

    Args:
        folder: where models, masks and trials are kept.
        seeds: number of seeds: 0, 1, ...
        report_only: run nothing.
    """
    torch.set_num_threads(1)
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    trials = Trials(Path(folder) / "masks.jsonl")
    if not report_only:
        for seed in range(seeds):
            world = World(Path(folder), EXPERIMENT, seed)
            for arm, attribution in arms(seed).items():
                if (arm, seed) not in trials:
                    trials.add({"arm": arm, "seed": seed, **unlearn(world, arm, attribution)})
    print_table([trial for trial in trials if trial["seed"] < seeds])


def arms(seed: int) -> dict[str, Attribution | None]:
    """Name to what selects the weights; None for all of them."""
    few: dict[str, Attribution | None] = {
        "WAGLE, gamma auto, 5 %": WAGLE(0.05),
        "WAGLE, gamma 1e-6, 5 %": WAGLE(0.05, gamma=1e-6),
        "SNIP, 5 %": SNIP(0.05),
        "SalUn, 5 %": SalUn(0.05),
        "Magnitude, 5 %": Magnitude(0.05),
        "Wanda, 5 %": Wanda(0.05),
        "Random, 5 %": Random(0.05, seed=seed),
    }
    many = {f"WAGLE, gamma auto, {keep:.0%}".replace("%", " %"): WAGLE(keep) for keep in (0.8, 0.95)}
    return {"dense": None, **few, **many}


def unlearn(world: World, arm: str, attribution: Attribution | None, calibration_steps: int = 50) -> dict[str, object]:
    """KL divergence of each chain after unlearning, and how many weights were trained.

    Args:
        world: models and data of a seed.
        arm: name of the mask's file.
        attribution: selects the weights; None for all.
        calibration_steps: steps of data from which gradients are averaged.
    """
    model, mask, trained = world.pretrained(), None, 0
    if attribution is not None:
        path = world.folder / "masks" / f"{arm}.safetensors"
        with quiet():
            trainer = pl.Trainer(
                accelerator="cpu",
                devices=1,
                max_epochs=1,
                limit_train_batches=calibration_steps,
                limit_val_batches=0,
                logger=False,
                enable_checkpointing=False,
                enable_progress_bar=False,
                enable_model_summary=False,
            )
            header = write_mask(path, attribution, NPO(model), world.data, trainer)
        mask, trained = MaskFile(str(path)), sum(header.kept.values())
    total = sum(parameter.numel() for parameter in model.parameters())
    module = NPO(model, world.experiment.npo_beta, mask=mask, **options())
    end = world.unlearn(module)[-1]
    return {"share": trained / total if mask else 1.0, **{chain: end[chain] for chain in CHAINS}}


class Trials:
    """What was run, a line each in a file.

    Args:
        path: JSON lines; need not exist.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._rows = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def __contains__(self, key: tuple[str, int]) -> bool:
        return key in {(row["arm"], row["seed"]) for row in self._rows}

    def __iter__(self) -> Iterator[dict]:
        return iter(self._rows)

    def add(self, row: dict[str, object]) -> None:
        """Keep ``row``, and say so."""
        self._rows.append(row)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = self.path.with_suffix(".unfinished")
        unfinished.write_text("".join(json.dumps(r) + "\n" for r in self._rows))
        unfinished.replace(self.path)
        print(f"seed {row['seed']}, {row['arm']}: " + ", ".join(f"{c} {row[c]:.3f}" for c in CHAINS), flush=True)


def print_table(trials: Sequence[dict]) -> None:
    """Means over the seeds; in brackets, the range of the share of dense forgetting, paired by seed."""
    dense = {trial["seed"]: trial for trial in trials if trial["arm"] == "dense"}
    print("| trained weights | share | KL retain | KL F1 | KL F2 | F1 as a share of dense |\n|" + "---|" * 6)
    for arm in dict.fromkeys(trial["arm"] for trial in trials):
        rows = [trial for trial in trials if trial["arm"] == arm and trial["seed"] in dense]
        shares = [row["forget1"] / dense[row["seed"]]["forget1"] for row in rows]
        values = " | ".join(f"{mean(row[chain] for row in rows):.3f}" for chain in CHAINS)
        spread = f"{mean(shares):.0%} ({min(shares):.0%} to {max(shares):.0%})".replace("%", " %")
        print(f"| {arm} | {mean(row['share'] for row in rows):.3f} | {values} | {spread} |")


if __name__ == "__main__":
    auto_cli(study, as_positional=False)
