"""Which rows suffice? Source data for transfer, retain subsets at matched forgetting, and forget coresets.

    python -m experiments.studies.selection.study                  # everything, 3 seeds, about a quarter of an hour
    python -m experiments.studies.selection.study --report_only true    # the tables of what was run before

Every run is kept in `trials.jsonl`; what is there already is not run again. Random rows stand in every table.
"""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from jsonargparse import auto_cli

from experiments.studies.selection.authors import (
    CORESET_LOOKS,
    CORESETS,
    LEVEL,
    RETAIN_ARMS,
    RETAIN_LOOKS,
    SHARES,
    AuthorsWorld,
    coreset,
)
from experiments.studies.selection.planted import planted
from experiments.studies.selection.tables import print_tables
from experiments.studies.selection.transfer import ARMS, KEPT, trial

Task = tuple[str, str, str, Callable[[int], dict[str, Any]]]
"""Part of the study, arm, share, and the run of a seed."""


def tasks(folder: Path) -> Iterator[Task]:
    """All runs of a seed."""
    worlds: dict[int, AuthorsWorld] = {}

    def world(seed: int) -> AuthorsWorld:
        if seed not in worlds:
            worlds[seed] = AuthorsWorld(folder / f"seed{seed}", seed)
        return worlds[seed]

    yield "planted", "FM", "", planted
    for arm in ("none", "all"):
        yield "transfer", arm, "", lambda seed, arm=arm: trial(arm, "", seed)
    for kept in KEPT:
        for arm in ARMS:
            yield "transfer", arm, kept, lambda seed, arm=arm, kept=kept: trial(arm, kept, seed)
    for arm, selected in RETAIN_ARMS.items():
        yield "retain", arm, "", lambda seed, selected=selected: world(seed).course(selected(seed), RETAIN_LOOKS, LEVEL)
    for share in SHARES:
        for arm in CORESETS if share < 1 else ("random",):
            yield "forget", arm, str(share), lambda s, a=arm, k=share: world(s).course(coreset(a, k, s), CORESET_LOOKS)


def study(folder: str = "runs/selection_study", seeds: int = 3, parts: str = "", report_only: bool = False) -> None:
    """Run what is missing, then print the tables.

    Args:
        folder: where trials and models are kept.
        seeds: number of seeds.
        parts: ``planted``, ``transfer``, ``retain``, ``forget``, separated by commas; all by default.
        report_only: run nothing.
    """
    path = Path(folder) / "trials.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    trials = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    done = {(t["part"], t["arm"], t["share"], t["seed"]) for t in trials}
    for seed in range(0 if report_only else seeds):
        for part, arm, share, run in tasks(Path(folder)):
            if (part, arm, share, seed) in done or (parts and part not in parts.split(",")):
                continue
            trials.append({"part": part, "arm": arm, "share": share, "seed": seed, **run(seed)})
            with path.open("a") as file:
                file.write(json.dumps(trials[-1]) + "\n")
    print_tables(trials)


if __name__ == "__main__":
    auto_cli(study)
