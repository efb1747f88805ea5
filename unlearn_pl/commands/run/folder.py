"""The folder of a run: what an earlier run has left there, and what becomes of it."""

from pathlib import Path

import lightning.pytorch as pl
from lightning.pytorch.utilities import rank_zero_only, rank_zero_warn

from unlearn_pl.callbacks import EvaluationCallback, SavePretrained
from unlearn_pl.printable import printable
from unlearn_pl.results import set_aside

NAMED = 6
"""Files that a message names."""


def announce_earlier_run(trainer: pl.Trainer, checkpoints: str | Path) -> None:
    """Warn if ``fit`` starts anew in a folder that holds another run; naming its files and what becomes of them.

    Args:
        trainer: about to train.
        checkpoints: folder of the run's checkpoints.
    """
    root = Path(trainer.default_root_dir)
    old = sorted(Path(checkpoints).glob("*.ckpt"))
    exports = [path for path in _exports(trainer) if path.exists()]
    results = [path for path in default_results(trainer) if path.exists()]
    found = [*old, *exports, *results]
    if not found:
        return
    names = printable(", ".join(_within(root, path) for path in found[:NAMED]))
    more = f" and {len(found) - NAMED} more" if len(found) > NAMED else ""
    fates = [
        "old checkpoints stay beside the new ones" if old else "",
        "the exported model is replaced" if exports else "",
        "its results are renamed when this run ends" if results else "",
    ]
    rank_zero_warn(
        f"{root} holds an earlier run ({names}{more}), and this one starts anew: {'; '.join(filter(None, fates))}. "
        "Use another --trainer.default_root_dir to keep both, or --ckpt_path last to resume.",
    )


@rank_zero_only
def set_results_aside(trainer: pl.Trainer) -> list[tuple[Path, Path]]:
    """Rename results in the folder, which are of other weights once ``fit`` has ended; rank 0 only.

    Args:
        trainer: has trained.

    Returns:
        Former and new path of each file.
    """
    moved = [(path, set_aside(path)) for path in default_results(trainer) if path.exists()]
    return [(path, new) for path, new in moved if new is not None]


def check_profiler(trainer: pl.Trainer) -> None:
    """Check that the profiler writes into the folder of the run.

    Args:
        trainer: as configured.

    Raises:
        ValueError: if its ``dirpath`` is elsewhere.
    """
    given = getattr(trainer, "profiler", None)
    folder = getattr(given, "dirpath", None)
    root = Path(trainer.default_root_dir).resolve()
    if folder is not None and ("://" in str(folder) or not Path(folder).resolve().is_relative_to(root)):
        raise ValueError(
            f"trainer.profiler has dirpath={str(folder)!r}, outside of the folder of the run, {str(root)!r}. Accepted: "
            "a folder inside it, or none, for the folder of the logs."
        )


def default_results(trainer: pl.Trainer) -> list[Path]:
    """The files that ``test`` of the command line writes without ``output``."""
    callbacks: list[pl.Callback] = trainer.callbacks  # type: ignore[attr-defined]
    evaluations = [callback for callback in callbacks if isinstance(callback, EvaluationCallback)]
    names = [evaluation.file_name(trainer) for evaluation in evaluations if not evaluation.output]
    return [Path(trainer.default_root_dir) / name for name in dict.fromkeys(["results.json", *names])]


def _exports(trainer: pl.Trainer) -> list[Path]:
    callbacks: list[pl.Callback] = trainer.callbacks  # type: ignore[attr-defined]
    return [callback.path(trainer) for callback in callbacks if isinstance(callback, SavePretrained)]


def _within(root: Path, path: Path) -> str:
    return str(path.relative_to(root)) if path.is_relative_to(root) else str(path)
