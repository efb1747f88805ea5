"""One run of a sweep in a process of its own: ``fit``, then ``test``; what is done is not done again."""

import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from unlearn_pl.callbacks import BackwardPasses
from unlearn_pl.commands.run.cost import COST
from unlearn_pl.commands.sweep.points import Point
from unlearn_pl.results import read_json, read_results, write_json

STATE = "point.json"
RESULTS = "results.json"
SECONDS_TO_STOP = 60
"""For a run to save a checkpoint when the sweep is interrupted."""


@dataclass(frozen=True)
class Recipe:
    """What all runs of a sweep share.

    Attributes:
        arguments: those of ``unlearn-pl fit``.
        seeded: the arguments that take the seed.
        results: the file in the folder of a run that ``test`` writes.
    """

    arguments: Sequence[str]
    seeded: Sequence[str] = ("seed_everything", "data.seed")
    results: str = RESULTS

    def of(self, point: Point) -> list[str]:
        """The arguments of ``fit`` at ``point``, without the folder."""
        return [*self.arguments, *point.arguments(self.seeded)]


def is_done(folder: Path, recipe: Recipe) -> bool:
    """Whether the run in ``folder`` has its results."""
    return _state(folder).get("is_tested") is True and (folder / recipe.results).is_file()


def check_same(point: Point, folder: Path, recipe: Recipe) -> None:
    """Check that the folder is empty, or holds this run.

    Raises:
        ValueError: if it was begun with other arguments.
    """
    before = _state(folder).get("arguments")
    if before is not None and before != recipe.of(point):
        changed = sorted(set(map(str, before)) ^ set(recipe.of(point)))
        raise ValueError(
            f"{str(folder)!r} holds a run with other arguments ({', '.join(changed)}). Give the sweep another --output."
        )


def run(point: Point, folder: Path, recipe: Recipe) -> str | None:
    """Train and test at ``point``; resume where an earlier sweep was interrupted.

    Args:
        point: what to run.
        folder: of the run; ``log.txt`` there has what the two commands print.
        recipe: what all runs share.

    Returns:
        None, or the last line that the command printed before it failed.
    """
    if is_done(folder, recipe):
        return None
    folder.mkdir(parents=True, exist_ok=True)
    state = {"arguments": recipe.of(point), "values": point.values, "seed": point.seed}
    counted = [f"--trainer.callbacks+={BackwardPasses.__name__}", f"--trainer.default_root_dir={folder}"]
    if _state(folder).get("is_fitted") is not True:
        write_json(folder / STATE, state)
        checkpoint = ["--ckpt_path=last"] if _has_checkpoints(folder) else []
        if failed := _called(["fit", *recipe.of(point), *counted, *checkpoint], folder):
            return failed
        write_json(folder / STATE, state | {"is_fitted": True})
    of_weights = (
        ["--ckpt_path=last"]
        if _has_checkpoints(folder)
        else ["--model=PretrainedModule", f"--model.model={folder / 'hf'}"]
    )
    failed = _called(["test", *recipe.of(point), *counted, *of_weights], folder)
    if not failed:
        write_json(folder / STATE, state | {"is_fitted": True, "is_tested": True})
    return failed


def outcome(folder: Path, recipe: Recipe) -> dict[str, float]:
    """Metrics of a run that is done, and its ``backward_passes``.

    Raises:
        ValueError: if a file is damaged.
    """
    cost = read_json(folder / COST)
    return {**read_results(folder / recipe.results).metrics, "backward_passes": float(cost["backward_passes"])}


def _state(folder: Path) -> dict[str, Any]:
    path = folder / STATE
    return read_json(path) if path.is_file() else {}


def _has_checkpoints(folder: Path) -> bool:
    return any((folder / "checkpoints").glob("*.ckpt"))


def _called(arguments: Sequence[str], folder: Path) -> str | None:
    """Run ``unlearn-pl ARGUMENTS``; None, or the last line that it printed if it failed."""
    log = folder / "log.txt"
    with log.open("a", encoding="utf-8") as file:
        process = subprocess.Popen([sys.executable, "-m", "unlearn_pl", *arguments], stdout=file, stderr=file)
        try:
            status = process.wait()
        except BaseException:  # interrupted: let it save a checkpoint
            process.terminate()
            process.wait(SECONDS_TO_STOP)
            raise
    if status == 0:
        return None
    lines = [line for line in log.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
    return lines[-1] if lines else f"status {status}"
