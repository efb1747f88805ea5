"""The checkpoint that ``ckpt_path="last"`` means."""

from collections.abc import Collection
from pathlib import Path

from lightning.pytorch.utilities import rank_zero_warn

from unlearn_pl.modules.checkpoints.folder import DIGESTS, folder_damage, is_folder
from unlearn_pl.modules.checkpoints.names import REPLACED, UNFINISHED, hidden
from unlearn_pl.results.checkpoint_file import damage


def damage_at(path: Path) -> str | None:
    """What is wrong with a checkpoint, a file or a folder, for a message; None if it is whole.

    Of folders, which can be larger than what one process can read in time, it compares sizes, not content.

    Args:
        path: of the checkpoint.
    """
    try:
        if path.is_dir():
            return folder_damage(path) if is_folder(path) else "it is a folder without a checkpoint"
        with path.open("rb") as file:
            return damage(file)
    except FileNotFoundError:
        return "it is a link to a checkpoint that is gone" if path.is_symlink() else "it does not exist"
    except OSError as error:
        return f"it cannot be read ({error})"


def candidates(folder: Path, extension: str = ".ckpt") -> list[Path]:
    """What may be a checkpoint in ``folder``, newest first.

    Args:
        folder: of a run's checkpoints.
        extension: end of their names.
    """
    named = list(folder.glob(f"*{extension}"))
    # A run that was killed while a folder took another's place has left both under hidden names. Without a list of
    # digests, such a folder may be half of one.
    left = [path for state in (UNFINISHED, REPLACED) for path in folder.glob(hidden(Path(f"*{extension}"), state).name)]
    left = [path for path in left if not path.is_dir() or (path / DIGESTS).is_file()]
    present = [path for path in {*named, *left} if path.exists()]
    return sorted(present, key=lambda path: (path.stat().st_mtime_ns, not path.is_symlink()), reverse=True)


def newest_whole(folder: Path, extension: str = ".ckpt") -> Path | None:
    """The newest checkpoint in ``folder`` that is whole; None if there is none.

    Args:
        folder: of a run's checkpoints.
        extension: end of their names.
    """
    return next((path for path in candidates(folder, extension) if damage_at(path) is None), None)


def last_checkpoints(found: Collection[str], folder: Path, extension: str = ".ckpt") -> set[str]:
    """The checkpoints that ``last`` may mean, of which Lightning takes the newest.

    Args:
        found: paths of those named ``last``, links that dangle included.
        folder: of the run's checkpoints.
        extension: end of their names.

    Returns:
        ``found`` if all of them are whole; else the newest checkpoint in the folder that is, with a warning. If none
        is, one whose reading raises the error that names it.
    """
    broken = {path: problem for path in sorted(found) if (problem := damage_at(Path(path))) is not None}
    if found and not broken:
        return set(found)
    whole = newest_whole(folder, extension)
    if whole is None:
        present = candidates(folder, extension)
        return {str(present[0])} if present else set(found)
    reasons = [f"{Path(path).name}: {problem}" for path, problem in broken.items()] or ["there is no such file"]
    rank_zero_warn(
        f"ckpt_path='last' in {str(folder)!r} is no whole checkpoint ({'; '.join(reasons)}): {whole.name}, the newest "
        "whole one, is used instead."
    )
    return {str(whole)}
