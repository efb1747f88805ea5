"""What attackers get out of the models of the study of proof, as further columns of its table.

    python -m experiments.studies.proof.attacked    # after experiments.studies.proof.study

Every attack is in `columns_attacked.jsonl`, a line per model; what is there already is not run again.
"""

import json
from collections.abc import Mapping
from pathlib import Path

from jsonargparse import auto_cli

from experiments.studies.proof.study import ARMS, ProofWorld
from unlearn_pl.commands.story import quiet
from unlearn_pl.robustness import (
    Attack,
    IntegerRounding,
    LinearProbe,
    LogitLens,
    Quantization,
    RandomFraction,
    RelearningSweep,
    SoftPrompt,
    Subject,
)

ATTACKS: Mapping[str, Attack] = {
    "relearned": RelearningSweep(
        [RandomFraction(0.2)], learning_rates=[3e-4, 1e-3, 3e-3], steps=16, evaluate_every=4, batch_size=8
    ),
    "soft prompt": SoftPrompt(vectors=10, steps=40, learning_rate=1e-2),
    "lens": LogitLens(),
    "probe": LinearProbe(),
    "4 bits": Quantization(IntegerRounding(bits=4, group_size=32)),
}
SCORE = "forget_probability"
SCORES = {
    **{title: (title, SCORE) for title in ATTACKS},
    "probe": ("probe", "forget_probe_accuracy"),
    "relearned, fixed": ("relearned", f"{SCORE}_fixed_within"),  # like for like: within the same bound
}
"""Title of a column to the attack and its figure."""


def attacked(world: ProofWorld, arm: str) -> dict[str, float]:
    """Title of a column to its figure, of the model of an arm."""
    folder = world.folder / arm.replace(" ", "_") / "hf"
    subject = Subject(str(folder), world.data, seed=world.seed, accelerator="cpu", max_new_tokens=8)
    with quiet():
        found = {title: attack.run(subject).after for title, attack in ATTACKS.items()}
    return {title: found[attack][score] for title, (attack, score) in SCORES.items()}


def study(folder: str = "runs/proof_study", seeds: int = 3) -> None:
    """Attack the models that were not attacked yet.

    Args:
        folder: where the models of the study are.
        seeds: number of seeds: 0, 1, ...
    """
    path = Path(folder) / "columns_attacked.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    done = {(row["arm"], row["seed"]) for row in rows}
    for seed in range(seeds):
        world = ProofWorld(Path(folder) / f"seed{seed}", seed, num_layers=4)
        for arm in ARMS:
            if (arm, seed) not in done:
                row = {"arm": arm, "seed": seed} | attacked(world, arm)
                with path.open("a") as file:
                    file.write(json.dumps(row) + "\n")
                print(json.dumps(row), flush=True)


if __name__ == "__main__":
    auto_cli(study, as_positional=False)
