"""Saving and checking of folders of shards by several ranks together."""

from collections.abc import Callable
from pathlib import Path

from lightning.pytorch.strategies import ParallelStrategy
from lightning.pytorch.utilities import rank_zero_info

from unlearn_pl.modules.checkpoints.folder import DIGESTS, complete, digests, file_names, folder_damage
from unlearn_pl.modules.checkpoints.names import UNFINISHED, hidden
from unlearn_pl.modules.checkpoints.replacing import discard, put_in_place
from unlearn_pl.modules.checkpoints.shards_index import check_index
from unlearn_pl.results.checkpoint_file import damaged


def save_whole(strategy: ParallelStrategy, path: Path, save: Callable[[Path], None]) -> None:
    """Save a folder so that ``path`` is the old one or the whole new one; every rank calls it.

    Args:
        strategy: of the Trainer.
        path: of the checkpoint, the same on all ranks.
        save: writes this rank's share to the folder that it is given.

    Raises:
        OSError: on all ranks, if rank 0 could not finish the folder.
    """
    unfinished = hidden(path, UNFINISHED)
    if strategy.is_global_zero:
        path.parent.mkdir(parents=True, exist_ok=True)
        discard(unfinished)
    strategy.barrier("unlearn_pl: nothing left of an earlier save")
    save(unfinished)
    strategy.barrier("unlearn_pl: all shards written")
    found: dict[str, list[int | str]] = {}
    mine = digests(unfinished, file_names(unfinished)[strategy.global_rank :: strategy.world_size])
    for rank in range(strategy.world_size):
        found |= strategy.broadcast(mine, src=rank)
    failure = None
    if strategy.is_global_zero:
        try:
            complete(unfinished, found)
            put_in_place(unfinished, path)
        except OSError as error:
            failure = f"The checkpoint {str(path)!r} could not be finished: {error}"
    if (failure := strategy.broadcast(failure)) is not None:
        raise OSError(failure)


def check_sharded(strategy: ParallelStrategy, path: Path) -> None:
    """Check a folder before it is read: that it is whole, unchanged, and plain data; every rank calls it.

    Args:
        strategy: of the Trainer.
        path: the folder, the same on all ranks.

    Raises:
        ValueError: on all ranks, naming the folder, what is wrong and what to do.
    """
    ranks, rank = strategy.world_size, strategy.global_rank
    problem = folder_damage(path, rank, ranks)
    for found in [strategy.broadcast(problem, src=each) for each in range(ranks)]:
        if found is not None:
            raise ValueError(damaged(path, found))
    check_index(path)
    if not (path / DIGESTS).exists():
        rank_zero_info(f"{path} was written without {DIGESTS}: whether it has changed since cannot be told.")
